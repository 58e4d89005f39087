"""Arguments for one pass of a network that stands alone: found by asking it, on shapes, what it takes.

x_t is tried in the layouts that networks take; the name of every other argument says what it is. Widths are asked for:
an argument is given with a width that nothing else has, and the first layer that it comes to says which one it takes.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from condistill.students.meta import INPUTS, clean
from condistill.students.remembered import Remembered
from condistill.students.shape_mode import NO_PASS, shapes_only

SIDE, FRAMES = 64, 16  # of x_t where neither the caller nor the config says them
MARK = 100_003  # widths from here on are nobody's
MANY = 200  # tries, of which most end at the first layer
_TEXT = ("hidden_states", "text", "cap_feats", "embed", "projection", "pooled", "clip")
_POOLED = ("pooled", "projection", "embeds", "embedding", "global")
_LEFT_OUT = ("control", "residual", "mask", "kwargs", "cache", "_cond", "audio", "siglip", "rotary", "history", "clean")


# a plan asks again for teacher and student, to count, to plan and to show
_KNOWN: Remembered[dict[str, Any] | None] = Remembered()


class _Wants(Exception):
    """A layer was given `mark` and takes `width`."""

    def __init__(self, mark: int, width: int):
        self.mark, self.width = mark, width


@dataclass(frozen=True)
class _Room:
    """The size of x_t: of a picture (h, w), with frames of a video."""

    frames: int
    height: int
    width: int


def inputs_of(network: nn.Module, latent: Sequence[int] | None = None, tokens: int = 77) -> dict[str, Any] | None:
    """Arguments for one pass of a network on the meta device that stands alone; None where none were found."""
    make, config = INPUTS.get(type(network).__name__), clean(network.config)  # type: ignore[arg-type]
    if make is None:
        question = repr((type(network), sorted(config.items(), key=str), latent, tokens))
        return _KNOWN.answer(question, lambda: likely_inputs(network, latent, tokens))
    with suppress(KeyError, TypeError, ValueError):
        return make(config, latent, tokens)
    return None


def likely_inputs(network: nn.Module, latent: Sequence[int] | None = None, tokens: int = 77) -> dict[str, Any] | None:
    """Arguments for one pass at batch 1 on which the network runs, or None where none of those that were tried do.

    Args:
        network: on the meta device.
        latent: (height, width) of x_t; the config's sample size if None, and 64 x 64 (16 frames) where it says none.
        tokens: length of the text where the config does not fix it.
    """
    config = dict(getattr(network, "config", {}))
    taken = list(inspect.signature(type(network).forward).parameters.values())[1:]
    taken = [one for one in taken if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    if not taken:
        return None
    fixed = [v for name, v in config.items() if "text" in name and "len" in name and isinstance(v, int)]
    room, left, tokens = _room(config, latent), MANY, fixed[0] if fixed else tokens
    in_frames = any(one.name == "num_frames" for one in taken)
    for names, x in itertools.product(_sets(taken[1:], config), _layouts(config, room, in_frames)):
        found, tries = _asked(network, taken[0].name, x, names, config, room, tokens, left)
        left -= tries
        if found is not None or left <= 0:
            return found
    return None


def _room(config: Mapping[str, Any], latent: Sequence[int] | None) -> _Room:
    size = latent or config.get("sample_size") or SIDE
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    if latent is None:
        height, width = config.get("sample_height") or height, config.get("sample_width") or width
    frames, every = config.get("sample_frames"), config.get("temporal_compression_ratio")
    if frames and isinstance(every, int):
        frames = (frames - 1) // every + 1  # the config counts those of the finished video
    return _Room(frames or FRAMES, height, width)


def _layouts(config: Mapping[str, Any], room: _Room, in_frames: bool) -> Iterator[tuple[int, ...]]:
    """Shapes of x_t, pictures before videos before tokens; channels as the config says them, else to be asked for.

    A network that takes tokens is told of how many frames they are (`in_frames`) where they are a video's.
    """
    num_tokens = room.height * room.width * (room.frames if in_frames else 1)
    said = [v for name, v in config.items() if isinstance(v, int) and _is_in(name)]
    for c in dict.fromkeys([*said, MARK]):
        yield 1, c, room.height, room.width
        yield 1, c, room.frames, room.height, room.width
        yield 1, room.frames, c, room.height, room.width
        yield 1, room.frames, room.height, room.width, c
        yield 1, num_tokens, c
        yield 1, c, num_tokens


def _is_in(name: str) -> bool:
    return name in ("io_channels", "latent_channels", "acoustic_hidden_size") or (
        name.startswith("in_") and name.endswith(("channels", "dim"))
    )


def _sets(others: list[inspect.Parameter], config: Mapping[str, Any]) -> Iterator[list[str]]:
    """Names of the arguments to give: those it cannot do without, with those that it can in ever smaller choices."""
    needed = [one.name for one in others if one.default is one.empty]
    free = [one.name for one in others if one.default is None and _is_wanted(one.name, config)]
    yield [*needed, *free]
    for count in range(len(free) - 1, max(len(free) - 3, -1), -1):
        for some in itertools.combinations(free, count):
            yield [*needed, *some]


def _is_wanted(name: str, config: Mapping[str, Any]) -> bool:
    if any(part in name for part in _LEFT_OUT):
        return False
    if name == "guidance":
        return any(bool(value) for key, value in config.items() if "guidance" in key)
    if name == "class_labels":
        return bool(config.get("num_embeds_ada_norm") or config.get("num_class_embeds"))
    return _is_time(name) or name.endswith("_ids") or any(part in name for part in _TEXT) or name in _COUNTS


_COUNTS = ("num_frames", "height", "width")


def _is_time(name: str) -> bool:
    return "time" in name or name in ("t", "sigma", "r")


def _asked(
    network: nn.Module, first: str, x: tuple[int, ...], names: list[str], config: Mapping[str, Any], room: _Room,
    tokens: int, left: int,
) -> tuple[dict[str, Any] | None, int]:  # fmt: skip
    """The arguments with the widths that the network asked for, if it runs on them; and how often it was tried."""
    marks = {name: MARK + 1 + 2 * k for k, name in enumerate(names)}
    widths = {mark: mark for mark in (MARK, *marks.values())}
    for tries in range(1, left + 1):
        shape = tuple(widths.get(size, size) for size in x)
        given = {first: torch.zeros(shape, device="meta")}
        given |= {name: _value(name, widths[marks[name]], shape, config, room, tokens) for name in names}
        try:
            with shapes_only(), _asking(network, [w for m, w in widths.items() if m == w]), torch.no_grad():
                network(**given)
            return given, tries
        except _Wants as wants:
            if wants.width <= 0:
                return None, tries
            widths[wants.mark] = wants.width
        except NO_PASS:
            return None, tries
    return None, left


def _value(
    name: str, width: int, x: tuple[int, ...], config: Mapping[str, Any], room: _Room, tokens: int
) -> Tensor | int:
    """What an argument of this name is given as."""
    if name in _COUNTS:
        return {"num_frames": room.frames, "height": room.height, "width": room.width}[name]
    if "mask" in name:
        return torch.ones(1, tokens, dtype=torch.long)
    if _is_time(name) or name == "guidance":
        return torch.zeros(1, device="meta")
    if name == "class_labels":
        return torch.zeros(1, dtype=torch.long)
    if name.endswith("_ids"):
        axes = next((len(v) for key, v in config.items() if "axes" in key and isinstance(v, list | tuple)), 3)
        return torch.zeros(tokens if "t" in name.split("_")[0] else x[1], axes)
    if name.endswith(("_size", "_coords")):
        return torch.zeros(1, 2, device="meta")
    if any(part in name for part in _POOLED):
        return torch.zeros(1, width, device="meta")
    return torch.zeros(1, tokens, width, device="meta")


@contextmanager
def _asking(network: nn.Module, marks: Sequence[int]) -> Iterator[None]:
    """Inside, the first layer that is given one of the marked widths says which one it takes."""

    def ask(module: nn.Module, args: tuple[Any, ...]) -> None:
        weight, x = module.weight, args[0] if args else None
        if not isinstance(x, Tensor) or not isinstance(weight, Tensor) or not x.is_floating_point() or not x.ndim:
            return
        is_conv = weight.ndim > 2
        axis = (1 if x.ndim == weight.ndim else 0) if is_conv else -1
        wanted = weight.shape[1] * getattr(module, "groups", 1) if is_conv else weight.shape[-1]
        mark = next((mark for mark in marks if mark <= x.shape[axis] < 2 * MARK), None)
        if mark is not None:
            mark = max(one for one in marks if one <= x.shape[axis])
            raise _Wants(mark, wanted - (x.shape[axis] - mark))

    layers = [one for one in network.modules() if isinstance(getattr(one, "weight", None), Tensor)]
    handles = [one.register_forward_pre_hook(ask) for one in layers if not isinstance(one, nn.Embedding)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
