"""Which arguments hold x_t, and how: found by comparing values with the scheduler's sample."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.teacher.leaves import Leaves
from condistill.teacher.rounding import TOLERANCE, allowed
from condistill.teacher.view import View, views, whole_slices

GIVEN = 5e-2  # relative; what is given in place of x_t may have a little noise on it, new in every step
SOME, MANY = 32, 4096  # so few numbers that are alike say nothing, so many are enough to see whether some are
FEWEST = 0.01  # of the places of an item that are x_t where others are given


def same(a: Any, b: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two recorded values are equal: floats within a share of the largest, everything else exactly."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape:
            return False
        if not a.is_floating_point() or not b.is_floating_point():
            return torch.equal(a, b)
        a, b = a.detach().double(), b.detach().double()
        return bool((a - b).abs().max() <= tolerance * (a.abs().max() + 1e-12)) if a.numel() else True
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and (a is b or a == b or not isinstance(a, str | int | float | bool | None))


@dataclass(frozen=True)
class Noisy:
    """How an argument holds x_t.

    Attributes:
        shape: of one item's x_t in it.
        axis: where more than x_t stands along this axis of the item (extra channels, more tokens); None if nothing.
        start: first position of x_t there.
        total: length of the axis, x_t and the rest.
        blocks: times that the batch is repeated.
        is_list: the argument is a list with one entry per item.
        frames: axis of x_t whose entries are rows of their own here (a ControlNet may see single frames); None if none.
        given: where in the item something else stands in x_t's place (a first frame that is given); None if nowhere.
        corner: first position of x_t along every axis, where more stands along several (frames and channels); it is
            then everything that is not `given`.
        part: from where to where of the flat x_t this is, where another argument holds the rest; None if it is all.
    """

    shape: tuple[int, ...]
    axis: int | None = None
    start: int = 0
    total: int = 0
    blocks: int = 1
    is_list: bool = False
    frames: int | None = None
    given: Tensor | None = None
    corner: tuple[int, ...] | None = None
    part: tuple[int, int] | None = None

    @property
    def has_extra(self) -> bool:
        """Whether anything stands beside x_t or in its place."""
        return self.axis is not None or self.given is not None

    @property
    def length(self) -> int:
        """Of x_t along the axis."""
        return self.shape[self.axis] if self.axis is not None else 0

    @property
    def held(self) -> Tensor | None:
        """Where in x_t's own shape something is given in its place; None if nowhere."""
        held = self.given if self.corner is None or self.given is None else self.given[self._box]
        return held if held is not None and bool(held.any()) else None

    @property
    def _box(self) -> tuple[slice, ...]:
        """The places of x_t where more stands along several axes."""
        return tuple(slice(start, start + size) for start, size in zip(self.corner or (), self.shape, strict=True))

    def sizes(self, rows: Tensor) -> list[int]:
        """Of one item in (b, ...) rows, but for the axis along which more than x_t stands."""
        return [size for axis, size in enumerate(rows.shape[1:]) if axis != self.axis]

    def extra(self, rows: Tensor) -> Tensor:
        """What stands beside x_t in (b, ...) recorded rows, or in its place with zeros elsewhere."""
        if self.given is not None:
            return torch.where(self.given.to(rows.device), rows, torch.zeros_like(rows))
        assert self.axis is not None
        axis, end = self.axis + 1, self.start + self.length
        parts = [rows.narrow(axis, 0, self.start), rows.narrow(axis, end, rows.shape[axis] - end)]
        return torch.cat(parts, dim=axis)

    def filled(self, x_t: Tensor, extra: Tensor | None) -> Tensor:
        """x_t (b, *shape) with what stands beside it or in its place, (b, ...)."""
        if self.part is not None:
            x_t = x_t[:, slice(*self.part)].unflatten(1, self.shape)
        if self.frames is not None:
            x_t = x_t.movedim(self.frames + 1, 1).flatten(0, 1)
        if extra is None:
            return x_t
        if self.corner is not None:
            whole = extra.clone()
            whole[(slice(None), *self._box)] = x_t
            x_t = whole
        if self.given is not None:
            return torch.where(self.given.to(x_t.device), extra, x_t)
        if self.axis is None:
            return x_t
        axis = self.axis + 1
        before, after = (
            extra.narrow(axis, 0, self.start),
            extra.narrow(axis, self.start, extra.shape[axis] - self.start),
        )
        return torch.cat([before, x_t, after], dim=axis)

    def taken(self, rows: Tensor) -> Tensor:
        """x_t out of (b, ...) rows that hold it, with whatever is given in its place."""
        part = rows if self.axis is None else rows.narrow(self.axis + 1, self.start, self.length)
        return part if self.corner is None else rows[(slice(None), *self._box)]

    def cropped(self, output: Tensor) -> Tensor:
        """The part of the denoiser's answer that is about x_t: all of it, but for further tokens or frames."""
        if self.corner is not None and self.given is not None and output.ndim == self.given.ndim + 1:
            for axis, (start, length) in enumerate(zip(self.corner, self.shape, strict=True)):
                if output.shape[axis + 1] == self.given.shape[axis]:
                    output = output.narrow(axis + 1, start, length)
            return output
        if self.axis is None or self.axis == self._channels:
            return output
        whole = (*self.shape[: self.axis], self.total, *self.shape[self.axis + 1 :])
        if tuple(output.shape[1:]) != whole:
            return output
        return output.narrow(self.axis + 1, self.start, self.length)

    @property
    def _channels(self) -> int | None:
        """The axis of the channels of tokens (n, c) and pictures (c, h, w); a learned variance doubles it as well."""
        return {2: 1, 3: 0}.get(len(self.shape))


def stacked(value: Any) -> Tensor | None:
    """A leaf as one tensor with a row per item, or None if it is none."""
    if isinstance(value, list | tuple):
        rows = [row for row in value if isinstance(row, Tensor)]
        if not rows or len(rows) != len(value) or any(row.shape != rows[0].shape for row in rows):
            return None
        value = torch.stack(rows)
    return value if isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2 else None


def find_noisy(leaves: Leaves, sample: Tensor, n: int, name: str) -> tuple[View, dict[str, Noisy]]:
    """The layout of x_t for the denoiser, and every argument that holds it.

    Args:
        leaves: of a call in the first step, with n items.
        sample: the scheduler's before its first step.

    Raises:
        UserError: no argument of the denoiser itself is the sample in any layout.
    """
    for compared in (_compared, _compared_in_part, _scaled_in_part):
        view, found = _search(leaves, sample, n, compared)
        if view is not None:
            break
    if view is None or all(":" in path for path in found):
        shapes = ", ".join(f"{p} {tuple(v.shape)}" for p, v in leaves.items() if isinstance(v, Tensor) and v.ndim > 1)
        raise UserError(
            f"no argument of {name} is the scheduler's sample {tuple(sample.shape)}, scaled, doubled, packed or with "
            f"more beside it; it got {shapes}: this pipeline is not supported"
        )
    return view, found


def check_given(found: Mapping[str, Noisy], calls: Sequence[Leaves], name: str) -> None:
    """Nothing, if what stands in x_t's place is the same in every step.

    Args:
        found: from `find_noisy`.
        calls: leaves of one call per step.

    Raises:
        UserError: it is another from step to step.
    """
    for path, noisy in found.items():
        if noisy.given is None:
            continue
        first, *later = [noisy.extra(rows) for rows in (stacked(call[path]) for call in calls) if rows is not None]
        if any((first - one).abs().max() > GIVEN * first.abs().max() for one in later):
            raise UserError(
                f"what stands in place of x_t in argument {path!r} of {name} changes from step to step, as it does "
                "with a strength below 1; give it with a strength of 1 if the pipeline takes one"
            )


def _search(leaves: Leaves, sample: Tensor, n: int, compared: Any) -> tuple[View | None, dict[str, Noisy]]:
    found: dict[str, Noisy] = {}
    view: View | None = None
    # the denoiser's own arguments first: they decide the layout
    for path in sorted(leaves, key=lambda p: ":" in p):
        rows = stacked(leaves[path])
        if rows is None or rows.shape[0] % n or not bool(rows.isfinite().all()):
            continue
        for layout in [view] if view is not None else views(sample, n, rows):
            noisy = compared(rows, layout(sample.double(), n), n)
            if noisy is None and view is not None:
                noisy = _by_frame(rows, view(sample.double(), n), n)
            if noisy is not None:
                is_list = isinstance(leaves[path], list | tuple)
                found[path] = replace(noisy, is_list=is_list)
                view = layout
                break
    return view, found


def _compared(rows: Tensor, wanted: Tensor, n: int) -> Noisy | None:
    """How `rows` (k n, ...) hold `wanted` (n, ...), which may be scaled; None if they do not."""
    if rows.ndim != wanted.ndim:
        return None
    blocks = rows.double().unflatten(0, (-1, n))
    longer = [k for k, (a, b) in enumerate(zip(rows.shape[1:], wanted.shape[1:], strict=True)) if a != b]
    if any(rows.shape[axis + 1] < wanted.shape[axis + 1] for axis in longer):
        return None
    shape = tuple(wanted.shape[1:])
    if len(longer) > 1:
        return _in_a_corner(blocks, wanted, longer)
    if not longer:
        return Noisy(shape, blocks=len(blocks)) if _is_scaled(blocks, wanted) else None
    axis, length = longer[0], shape[longer[0]]
    for start in (0, rows.shape[axis + 1] - length):
        if _is_scaled(blocks.narrow(axis + 2, start, length), wanted):
            return Noisy(shape, axis, start, rows.shape[axis + 1], len(blocks))
    return None


def _in_a_corner(blocks: Tensor, wanted: Tensor, longer: list[int]) -> Noisy | None:
    """How `blocks` (k, n, ...) hold `wanted` with more beside it along several axes, at either end of each."""
    shape, whole = tuple(wanted.shape[1:]), tuple(blocks.shape[2:])
    if len(longer) > 2:
        return None
    for ends in itertools.product(*((0, whole[axis] - shape[axis]) for axis in longer)):
        corner = tuple(dict(zip(longer, ends, strict=True)).get(axis, 0) for axis in range(len(shape)))
        place = tuple(slice(start, start + length) for start, length in zip(corner, shape, strict=True))
        if _is_scaled(blocks[(slice(None), slice(None), *place)], wanted):
            given = torch.ones(whole, dtype=torch.bool)
            given[place] = False
            return Noisy(shape, blocks=len(blocks), given=given, corner=corner)
    return None


def _compared_in_part(rows: Tensor, wanted: Tensor, n: int) -> Noisy | None:
    """How `rows` (k n, ...) hold `wanted` (n, ...) in the same places of every item, with others given."""
    if rows.shape[1:] != wanted.shape[1:]:
        return None
    equal = (rows.unflatten(0, (-1, n)) == wanted.to(rows.dtype)).all(dim=0).all(dim=0)
    # noise is equal to nothing else by chance, so few places would prove it; a mask of zeros proves nothing
    if equal.double().mean() < FEWEST or not bool(wanted[:, equal].any()):
        return None
    return Noisy(tuple(wanted.shape[1:]), blocks=rows.shape[0] // n, given=~equal)


def _scaled_in_part(rows: Tensor, wanted: Tensor, n: int) -> Noisy | None:
    """How `rows` hold `wanted` scaled by one factor in a tenth or more of the places, with others given."""
    if rows.shape[1:] != wanted.shape[1:] or wanted.numel() < SOME:
        return None
    blocks = rows.double().unflatten(0, (-1, n))
    ratios = (blocks[0] / wanted).flatten()
    ratios = ratios[:: len(ratios) // MANY + 1].sort().values
    width = max(SOME // 2, len(ratios) // 10)
    spreads = ratios[width:] - ratios[:-width]
    best = int(spreads.nan_to_num(nan=float("inf")).argmin())
    factor = ratios[best + width // 2]
    tolerance = allowed(rows)
    if not bool(factor.abs() > 1e-6) or not bool(spreads[best] <= tolerance * factor.abs()):
        return None
    scaled = wanted * factor
    differs = ((blocks - scaled).abs() > tolerance * scaled.abs().max()).flatten(0, 1).any(dim=0)
    return Noisy(tuple(wanted.shape[1:]), blocks=len(blocks), given=whole_slices(differs))


def _by_frame(rows: Tensor, x_t: Tensor, n: int) -> Noisy | None:
    """How `rows` (k n f, ...) hold x_t (n, ...) with the entries of one of its axes as rows; None if they do not."""
    for axis in range(x_t.ndim - 1):
        moved = x_t.movedim(axis + 1, 1).flatten(0, 1)
        if rows.shape[1:] == moved.shape[1:] and rows.shape[0] % len(moved) == 0:
            noisy = _compared(rows, moved, len(moved))
            if noisy is not None:
                return replace(noisy, frames=axis)
    return None


def _is_scaled(blocks: Tensor, wanted: Tensor) -> bool:
    factor = (blocks[0] * wanted).sum() / wanted.square().sum()
    return bool(factor.abs() > 1e-6) and all(same(block, wanted * factor, allowed(blocks)) for block in blocks)
