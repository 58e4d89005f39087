"""One try of a network on the meta device: whether it runs, how far it comes, which widths it takes, what takes part.

A width that is not known is given as a prime number that nothing else has. The first layer that it comes to, or the
mismatch that torch complains of, says which width is wanted in its place.
"""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from condistill.errors import brief
from condistill.students.shape_mode import ValuesWhereKnown, shapes_only

MARK = 100_003  # widths from here on are nobody's
_MISMATCHES = (
    r"tensor a \((\d+)\) must match the size of tensor b \((\d+)\)",
    r"but got \[[^\]]*?(\d+)\] X \[(\d+),",
    r"cannot be multiplied \(\d+x(\d+) and (\d+)x",
    r"Expected (?:size )?(\d+)(?: in dimension \d+)? but got (?:size )?(\d+)",
)


class Wants(Exception):
    """A layer was given `mark` and takes `width`."""

    def __init__(self, mark: int, width: int):
        self.mark, self.width = mark, width


@dataclass
class Widths:
    """Name -> width: a mark until a layer says which one it takes.

    >>> widths = Widths()
    >>> widths("text"), widths("text"), widths("pooled"), widths.open()
    (100003, 100003, 100019, [100003, 100019])
    """

    known: dict[int, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)

    def __call__(self, name: str) -> int:
        mark = self.marks.setdefault(name, _prime(len(self.marks)))
        return self.known.get(mark, mark)

    def open(self) -> list[int]:
        """The marks that stand for no width yet."""
        return [mark for mark in self.marks.values() if mark not in self.known]


@dataclass(frozen=True)
class Outcome:
    """What one try showed.

    Attributes:
        given: the arguments, with the widths that were asked for.
        ran: whether it came to its end.
        reached: line of the network's own forward at which it stopped, the number of operations until then, and the
            lines of what it called.
        said: the expression at which it stopped, and why.
        unused: weights that took no part.
        output: of the pass that ran.
        chosen: what was tried, as the caller knows it.
    """

    given: dict[str, Any]
    ran: bool
    reached: tuple[int, int, tuple[int, ...]]
    said: str = ""
    unused: frozenset[str] = frozenset()
    output: Any = None
    chosen: Any = None

    @property
    def why(self) -> str:
        """Why it stopped."""
        return self.said.rpartition("\n")[2]


def tried(network: nn.Module, give: Callable[[Widths], dict[str, Any]], widths: Widths) -> Outcome:
    """What a network on the meta device does with the arguments that `give` makes of widths.

    Args:
        network: inside `watched`.
        widths: none are known yet.
    """
    names = {id(weight): name for name, weight in network.named_parameters()}
    while True:
        given, mode = give(widths), _Watching(names)
        network.__dict__["_open_marks"] = widths.open
        try:
            with shapes_only(mode), torch.no_grad():
                output = network(**given)
        except Wants as wants:
            error: BaseException = wants
            asked = (wants.mark, wants.width)
        except Exception as stopped:  # whatever a network raises on arguments that it was not made for
            error, asked = stopped, _asked_by(brief(stopped), widths.open())
        else:
            unused = frozenset(names.values()) - mode.used
            return Outcome(given, True, (1 << 30, mode.operations, ()), "", unused, output)
        if asked is None or asked[1] <= 0:
            line, inner, said = _place(network, error)
            return Outcome(given, False, (line, mode.operations, inner), said)
        widths.known[asked[0]] = asked[1]


@contextmanager
def watched(network: nn.Module) -> Iterator[None]:
    """Inside, the network's layers say which widths they take."""

    def ask(module: nn.Module, args: tuple[Any, ...]) -> None:
        weight, x = module.weight, args[0] if args else None
        if not isinstance(x, Tensor) or not isinstance(weight, Tensor) or not x.is_floating_point() or not x.ndim:
            return
        is_conv = weight.ndim > 2
        axis = (1 if x.ndim == weight.ndim else 0) if is_conv else -1
        if x.shape[axis] >= MARK:
            wanted = weight.shape[1] * getattr(module, "groups", 1) if is_conv else weight.shape[-1]
            asked = _wanted(x.shape[axis], wanted, network.__dict__["_open_marks"]())
            if asked is not None:
                raise Wants(*asked)

    layers = [one for one in network.modules() if isinstance(getattr(one, "weight", None), Tensor)]
    handles = [one.register_forward_pre_hook(ask) for one in layers if not isinstance(one, nn.Embedding)]
    try:
        yield
    finally:
        network.__dict__.pop("_open_marks", None)
        for handle in handles:
            handle.remove()


class _Watching(ValuesWhereKnown):
    """Counts the operations, and notes which weights take part."""

    def __init__(self, names: Mapping[int, str]):
        super().__init__()
        self.names, self.used, self.operations = names, set[str](), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        leaves = tree_leaves((args, kwargs or {}))
        self.used.update(self.names[id(one)] for one in leaves if id(one) in self.names)
        if any(_is_open(one) for one in leaves):  # values of that many would take the memory of a real pass
            args, kwargs = tree_map_only(Tensor, lambda one: one.to("meta"), (args, dict(kwargs or {})))
            if "device" in kwargs or not any(isinstance(one, Tensor) for one in leaves):
                kwargs["device"] = torch.device("meta")
        return super().__torch_dispatch__(func, types, args, kwargs)


def _is_open(one: Any) -> bool:
    """Whether a size that is not known yet is in it."""
    if isinstance(one, Tensor):
        return not one.is_meta and any(size >= MARK for size in one.shape)
    return isinstance(one, int) and MARK <= one < 1 << 40


def _wanted(size: int, wanted: int, marks: list[int]) -> tuple[int, int] | None:
    """(mark, its width) where a size that has a mark in it is to be `wanted`; a width of 0 where none is possible."""
    for mark in marks:
        if size % mark == 0:
            return mark, wanted // (size // mark) if wanted % (size // mark) == 0 else 0
    beside = max((mark for mark in marks if mark <= size < 2 * MARK), default=None)
    return None if beside is None else (beside, wanted - (size - beside))


def _asked_by(message: str, marks: list[int]) -> tuple[int, int] | None:
    """(mark, its width) by the two sizes that do not match."""
    for pattern in _MISMATCHES:
        for pair in re.findall(pattern, message):
            a, b = map(int, pair)
            large, small = max(a, b), min(a, b)
            if large >= MARK > small > 1:
                return _wanted(large, small, marks)
    found = re.search(r"length (\d+) at (-\d+).*Size\(\[(.*?)\]\).*to \[(.*?)\]", message)
    if found:
        sizes = [[*map(int, one.split(","))] for one in (found[3], found[4])]
        a, b = sizes[0][int(found[2])], sizes[1][int(found[2])]
        if max(a, b) >= MARK > min(a, b) > 1:
            return _wanted(max(a, b), min(a, b), marks)
    return None


def _place(network: nn.Module, error: BaseException) -> tuple[int, tuple[int, ...], str]:
    """The line of the network's own forward at which it stopped, those of what it called there, and the expression and
    why, in lines."""
    own, at = inspect.unwrap(type(network).forward).__code__, error.__traceback__
    first, last, inner = 0, 0, list[int]()
    while at is not None:
        if at.tb_frame.f_code is own:
            begin, end, _, _ = list(own.co_positions())[at.tb_lasti // 2]
            first, last, inner = begin or at.tb_lineno, end or at.tb_lineno, []
        else:
            inner.append(at.tb_lineno)
        at = at.tb_next
    lines = [linecache.getline(own.co_filename, number).strip() for number in range(first, last + 1)]
    return first, tuple(inner), "\n".join([*lines, brief(error)])


def _prime(number: int) -> int:
    """The prime of that number from `MARK` on."""
    found = MARK
    for _ in range(number):
        found += 2
        while any(found % k == 0 for k in range(3, int(found**0.5) + 1, 2)):
            found += 2
    return found
