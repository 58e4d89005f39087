"""What is compared: which output of which module in teacher and student, found from the shapes of one pass each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from condistill.students.channels import out_channels
from condistill.students.inherit import evenly
from condistill.students.passes import Pass, Shape
from condistill.students.plan import TapPair

MAX_TAPS = 8  # where no block was cut: all features are held until the loss
Pairs = Sequence[tuple[str, str]]


def tap_pairs(
    pairs: Pairs, theirs: Pass, ours: Pass, inputs: Mapping[str, Any] | None = None
) -> tuple[tuple[TapPair, ...], tuple[str, ...]]:
    """The taps on these pairs of modules, and a note for each pair whose features cannot be compared.

    A module may give out several tensors. The one that follows the latent is compared ("blocks.3:1" is element 1 of
    what blocks.3 gives out, "blocks.3" element 0); where that cannot be told, each of them.

    Args:
        pairs: (teacher's module, student's module).
        theirs: a pass of the teacher.
        ours: a pass of the student.
        inputs: the arguments of both passes.
    """
    found, notes = [], []
    for source, path in pairs:
        before, after = theirs.outputs.get(source, ()), ours.outputs.get(path, ())
        answer = theirs.outputs[""][0] or ()
        fitting = [
            TapPair(_named(source, k), _named(path, k), before[k][axis], after[k][axis])  # type: ignore[index]
            for k in image_elements(before, answer, inputs or {})
            if k < len(after) and (axis := _channel_axis(before[k], after[k])) is not None
        ]
        found += fitting
        if not fitting and (before or after):  # what runs in neither has no feature
            notes.append(f"{path} is not compared: it gives {after}, the teacher's {source} {before}")
    return tuple(found), tuple(notes)


def _named(path: str, element: int) -> str:
    return f"{path}:{element}" if element else path


def _channel_axis(before: Shape | None, after: Shape | None) -> int | None:
    """Where the channels are, as the learned projection wants them; None if something else differs."""
    if before is None or after is None or len(before) != len(after) or len(before) < 2:
        return None
    axis = 2 if len(before) == 3 else 1
    alike = all(n == m for k, (n, m) in enumerate(zip(before, after, strict=True)) if k != axis)
    return axis if alike else None


def image_elements(shapes: Sequence[Shape | None], answer: Shape, inputs: Mapping[str, Any]) -> list[int]:
    """The elements of a module's output that belong to the latent, by their number of positions.

    Args:
        shapes: of the elements.
        answer: shape of what the network gives out.
        inputs: of the network; tokens (1, n, d) among them that the answer has not are a text's.

    >>> import torch
    >>> text = {"encoder_hidden_states": torch.zeros(1, 77, 16)}
    >>> image_elements([(1, 77, 64), (1, 1024, 64)], (1, 4, 64, 64), text)
    [1]
    """
    found = [k for k, shape in enumerate(shapes) if shape is not None and (len(shape) > 2 or len(shapes) == 1)]
    if len(found) < 2:
        return found
    given = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.ndim == 3]
    texts = {leaf.shape[1] for leaf in given} - set(answer[1:])
    positions = {k: _positions(shapes[k] or ()) for k in found}
    in_answer = [k for k, n in positions.items() if len(answer) == 3 and n == answer[1]]
    following = [k for k, n in positions.items() if n not in texts and math.prod(answer[1:]) % n == 0]
    no_text = [k for k, n in positions.items() if n not in texts]
    return next((some for some in (in_answer, following, no_text) if len(some) == 1), found)


def _positions(shape: Shape) -> int:
    return shape[1] if len(shape) == 3 else math.prod(shape[2:])


def blind_pairs(
    pairs: Pairs, teacher: nn.Module, student: nn.Module, *, narrowed: bool
) -> tuple[tuple[TapPair, ...], tuple[str, ...]]:
    """The taps where no pass is possible: those of U-Net blocks, whose layers say their width, and where none differs.

    A width that is not known is written 0; that is one of a network that is as wide as its teacher.
    """
    found = [TapPair(a, b, _width(teacher, a), _width(student, b)) for a, b in pairs]
    known = [tap for tap in found if not narrowed or (tap.teacher_channels and tap.student_channels)]
    notes = [f"{tap.student} is not compared: its width is not known" for tap in found if tap not in known]
    return tuple(known), tuple(notes)


def _width(network: nn.Module, path: str) -> int:
    layers = getattr(network.get_submodule(path), "resnets", None)
    return out_channels(layers[-1]) if isinstance(layers, nn.ModuleList) else 0


def block_pairs(student: nn.Module, modules: Mapping[str, str], ours: Pass) -> list[tuple[str, str]]:
    """(teacher's module, student's) for the items of the student's outermost lists: blocks of networks without stacks.

    Args:
        student: the network.
        modules: path of each of its modules -> the teacher's counterpart.
        ours: a pass of the student: an item that is itself a list does not run, its items do.
    """
    paths = [path for path in _items(student, "") if path in modules and any(ours.outputs.get(path, ()))]
    return [(modules[paths[k]], paths[k]) for k in evenly(len(paths), min(len(paths), MAX_TAPS))] if paths else []


def _items(module: nn.Module, path: str) -> Iterator[str]:
    for name, child in module.named_children():
        inner = f"{path}.{name}".lstrip(".")
        if isinstance(child, nn.ModuleList):
            yield from _items(child, inner)
        elif isinstance(module, nn.ModuleList):
            yield inner
