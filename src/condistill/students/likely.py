"""Arguments for one pass of a network that stands alone: found by asking it, on shapes, what it takes.

x_t is tried in the layouts that networks take, every other argument in the forms that its name allows (`forms.py`).
From where a try stops, the change of one form that brings the network further is kept. What is found is checked: what
comes out has the shape of x_t, and every layer takes part, as in the pipelines of the tests.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from condistill.students.asking import MARK, Outcome, Widths, tried, watched
from condistill.students.forms import OMITTED, Asked, forms, kind, x_t
from condistill.students.meta import INPUTS, clean
from condistill.students.remembered import Remembered
from condistill.students.room import CHANNELS, TOKENS, Room, channels, layouts, room_of

TRIES = 150  # for one layout of x_t; most end at the first layer
FEW = 4  # forms that are tried of an argument that does not stand where it stopped
OPERATIONS = 25_000  # of all tries: some ten seconds
MORE = 40  # tries of what else may be given, each a whole pass
SMALL = {"frames": 2, "height": 16, "width": 24}  # of the passes in which it is asked: no two alike


@dataclass(frozen=True)
class Found:
    """What a network that stands alone was found to take.

    Attributes:
        inputs: arguments for one pass at batch 1; None where none were found.
        why: why there are none.
    """

    inputs: dict[str, Any] | None
    why: str = ""


# a plan asks again for teacher and student, to count, to plan and to show
_KNOWN: Remembered[Found] = Remembered()


def inputs_of(network: nn.Module, latent: Sequence[int] | None = None, tokens: int = TOKENS) -> dict[str, Any] | None:
    """Arguments for one pass of a network on the meta device that stands alone; None where none were found."""
    return found_for(network, latent, tokens).inputs


def found_for(network: nn.Module, latent: Sequence[int] | None = None, tokens: int = TOKENS) -> Found:
    """Arguments for one pass of a network on the meta device that stands alone, or why there are none.

    Args:
        latent: (height, width) of x_t; the config's sample size if None, and 64 x 64 where it says none.
        tokens: length of the text where the config does not fix it.
    """
    cls, config = type(network), clean(network.config)  # type: ignore[arg-type]
    make = INPUTS.get(cls.__name__)
    if make is None:
        room = room_of(config, latent, tokens, is_video="Image" not in cls.__name__)
        question = repr((cls, sorted(config.items(), key=str), latent, tokens))
        return _KNOWN.answer(question, lambda: likely_inputs(network, room))
    with suppress(KeyError, TypeError, ValueError):
        return Found(make(config, latent, tokens))
    return Found(None, f"its config is not one of a {cls.__name__}")


def likely_inputs(network: nn.Module, room: Room) -> Found:
    """Arguments for one pass at batch 1 on which the network runs as it does in a pipeline, so far as that shows.

    It is asked in small passes. Where it does not run at the size that is wanted, what it is counted for is small too.

    Args:
        network: on the meta device.
        room: the sizes of the pass.
    """
    taken = list(inspect.signature(type(network).forward).parameters.values())[1:]
    taken = [one for one in taken if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    if not taken:
        return Found(None, "it takes no arguments")
    small = replace(room, **{name: min(getattr(room, name), most) for name, most in SMALL.items()})
    is_fixed = any(name.startswith("sample_") for name in room.config)  # then another size may not run
    why = ""
    with watched(network):
        for size in dict.fromkeys((small, room) if is_fixed else (small,)):
            search = _Search(network, size, taken)
            best = search.best()
            if search.is_good(best):
                return _at_size(search, best, room)
            why = why or best.why or "what comes out has not the shape of x_t"
    return Found(None, why)


def _at_size(search: _Search, best: Outcome, room: Room) -> Found:
    """What was found, at the size that is wanted or the largest that it runs at."""
    for wanted in dict.fromkeys((room, replace(room, frames=search.room.frames))):
        again = _Search(search.network, wanted, search.taken)
        one = again.at(best.chosen)
        if again.is_good(one):
            return again.checked(one)
    return search.checked(best)


@dataclass(frozen=True)
class _Choice:
    """What a try gives.

    Attributes:
        layout: of x_t, by its number.
        channels: of x_t; None where they are asked for.
        forms: (kind of argument, number of its form); 0 where it says nothing.
    """

    layout: int
    channels: int | None
    forms: tuple[tuple[str, int], ...] = ()

    def with_form(self, name: str, form: int) -> _Choice:
        return replace(self, forms=(*((one, k) for one, k in self.forms if one != name), (name, form)))


class _Search:
    """A network that is asked with passes of one size; `tries` and `operations` say what was spent."""

    def __init__(self, network: nn.Module, room: Room, taken: list[Parameter]):
        self.network, self.room, self.taken = network, room, taken
        self.layouts = list(layouts(room, taken))
        # a default that is a value stays
        self.free = [one for one in taken[1:] if one.default is None or one.default is one.empty]
        self.tries, self.operations = 0, 0
        self._forms: dict[tuple[str, int], list[Any]] = {}

    def best(self) -> Outcome:
        """The first try that is good, or the one that came furthest."""
        said = channels(self.room.config)
        starts = [self.at(_Choice(layout, c)) for c in said for layout in range(len(self.layouts))]
        starts.sort(key=lambda one: one.reached, reverse=True)
        furthest = starts[0]
        for start in starts:
            one = self.climbed(start)
            if self.is_good(one):
                return self.completed(one)
            furthest = max(furthest, one, key=lambda one: one.reached)
            if self.operations > OPERATIONS:
                break
        return furthest

    def at(self, choice: _Choice) -> Outcome:
        """What comes of a choice."""
        widths, layout, chosen = Widths(), self.layouts[choice.layout], dict(choice.forms)
        if choice.channels is not None:
            widths.known[widths(CHANNELS)] = choice.channels

        def give(widths: Widths) -> dict[str, Any]:
            given = {self.taken[0].name: x_t(self.taken[0], layout, widths)}
            for one in self.free:
                known = self.forms(one, choice.layout)
                form = known[min(chosen.get(kind(one), 0), len(known) - 1)]
                if form is not OMITTED:
                    given[one.name] = form(widths)
            return given

        found = replace(tried(self.network, give, widths), chosen=choice)
        self.tries, self.operations = self.tries + 1, self.operations + found.reached[1]
        return found

    def forms(self, one: Parameter, layout: int) -> list[Any]:
        key = one.name, layout
        if key not in self._forms:
            self._forms[key] = forms(one, self.room, self.layouts[layout])
        return self._forms[key]

    def climbed(self, best: Outcome) -> Outcome:
        """The furthest that changing one form at a time comes."""
        last = self.tries + TRIES
        while not best.ran:
            for choice in self.changes(best):
                if self.tries > last or self.operations > OPERATIONS:
                    return best
                one = self.at(choice)
                if one.reached > best.reached:
                    best = one
                    break
            else:
                break
        return best

    def changes(self, best: Outcome) -> list[_Choice]:
        """Forms that are not chosen, first of the arguments that stand in the expression at which it stopped."""
        chosen, found = dict(best.chosen.forms), []
        for one in self.free:
            known = len(self.forms(one, best.chosen.layout))
            is_near = re.search(rf"\b{one.name}\b", best.said) is not None
            for form in range(known if is_near else min(known, FEW)):
                if form != chosen.get(kind(one), 0):
                    found.append((not is_near, form, best.chosen.with_form(kind(one), form)))
        return [choice for *_, choice in sorted(found, key=lambda one: one[:2])]

    def is_good(self, one: Outcome) -> bool:
        """Whether what comes out has the shape of x_t, channels aside."""
        if not one.ran:
            return False
        x, out = _first(one.given[self.taken[0].name]), _first(one.output)
        if x is None or out is None or x.ndim != out.ndim:
            return False
        return sum(a != b for a, b in zip(x.shape, out.shape, strict=True)) <= 1

    def completed(self, best: Outcome) -> Outcome:
        """With the arguments that make more weights take part, first those that share a word with what does not."""
        words = {word for name in best.unused for word in re.split(r"[._]", name)}
        near = sorted(self.changes(best), key=lambda choice: not words & {*choice.forms[-1][0].split("_")})
        for choice in near[:MORE]:
            if not best.unused:
                break
            one = self.at(best.chosen.with_form(*choice.forms[-1]))
            if self.is_good(one) and len(one.unused) < len(best.unused):
                best = one
        return best

    def checked(self, best: Outcome) -> Found:
        """The arguments of a try that is good, if no layer stood idle."""
        idle = _idle(self.network, best.unused)
        if idle:
            return Found(None, f"no argument was found with which {idle} takes part")
        given = {name: dict(value) if isinstance(value, Asked) else value for name, value in best.given.items()}
        nobody = [name for name, value in given.items() if _is_open(value)]
        needed = [one.name for one in self.taken if one.name in nobody and one.default is one.empty]
        if needed:
            return Found(None, f"no layer asks how wide {needed[0]} is")
        return Found({name: value for name, value in given.items() if name not in nobody})


def _idle(network: nn.Module, unused: frozenset[str]) -> str | None:
    """A layer that multiplies by weights that took no part."""
    for path, part in network.named_modules():
        weight = getattr(part, "weight", None)
        multiplies = isinstance(weight, Tensor) and weight.ndim > 1 and not isinstance(part, nn.Embedding)
        if multiplies and f"{path}.weight" in unused:
            return path
    return None


def _is_open(value: Any) -> bool:
    """Whether nothing has asked for the width of an argument."""
    return any(size >= MARK for one in tree_leaves(value) if isinstance(one, Tensor) for size in one.shape)


def _first(value: Any) -> Tensor | None:
    """The first tensor of an argument or an output."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return next((one for one in tree_leaves(value) if isinstance(one, Tensor)), None)
