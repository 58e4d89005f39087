"""Which arguments follow the scheduler's time, or its noise: affine maps, fitted on two steps and checked on all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.maths.noise_path import NoisePath, noise_path
from condistill.teacher.leaves import Leaves
from condistill.teacher.noisy import same
from condistill.teacher.rounding import ROUNDING, TOLERANCE, allowed

NEAR = 0.02  # of the range of an argument's values; another than an affine map is further off somewhere
_KNOWN = (0.0, 1.0, -1.0, 0.001, -0.001)


@dataclass(frozen=True)
class TimeMap:
    """network time = scale * t + offset, or scale * log(sigma / alpha) + offset.

    Attributes:
        scale, offset: numbers, or tensors of one item's shape where parts of an item have times of their own
            (a frame that is given is always at time 0).
        shape: of one item's time; () where it is one number.
        dtype: whole numbers, or floats of the precision in which they were recorded.
        path: the noise path, where the map is one of log(sigma / alpha) at t and not of t itself.
    """

    scale: float | Tensor
    offset: float | Tensor
    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    path: NoisePath | None = None

    def __call__(self, t: Tensor) -> Tensor:
        """The network's times for the scheduler's times t (b,): (b, *shape)."""
        t = t if self.path is None else self.path.log_noise(t)
        if self.is_plain:
            time = t
        elif isinstance(self.scale, Tensor) and isinstance(self.offset, Tensor):
            column = t.float().view(-1, *[1] * len(self.shape))
            time = column * self.scale.to(t.device) + self.offset.to(t.device)
        else:
            time = t.float() * self.scale + self.offset
        if self.shape and time.ndim == 1:
            time = time.view(-1, *[1] * len(self.shape)).expand(-1, *self.shape).contiguous()
        return time.to(self.dtype) if self.dtype.is_floating_point else time.round().to(self.dtype)

    @property
    def num_scales(self) -> int:
        """How many scales there are but for 0, at which a part has one time always."""
        scales = torch.as_tensor(self.scale, dtype=torch.float64).flatten()
        scales = scales[scales.abs() > NEAR * scales.abs().max()].sort().values
        return 1 + int((scales.diff() > NEAR * scales.abs().max()).sum())

    @property
    def is_plain(self) -> bool:
        """Whether the network is given the scheduler's time as it is."""
        return (
            not isinstance(self.scale, Tensor)
            and not isinstance(self.offset, Tensor)
            and (self.scale == 1.0 and self.offset == 0.0 and self.path is None)
        )


def time_maps(
    calls: Sequence[Leaves],
    times: Sequence[float],
    known: Collection[str],
    n: int,
    name: str,
    *,
    scheduler: Any = None,
) -> dict[str, TimeMap]:
    """The arguments that change from step to step -> their affine maps from the scheduler's time.

    Args:
        calls: leaves of one call per step.
        times: the scheduler's time of each.
        known: paths that hold x_t or come from another network; they change as well.
        n: items in a call.
        scheduler: that stepped; asked for its noise where the time itself says nothing.

    Raises:
        UserError: no argument follows the time, or another one changes from step to step.
    """
    found: dict[str, TimeMap] = {}
    if len(set(times)) < 2:
        raise UserError(f"{name} was called at one time only; give more steps (num_inference_steps)")
    for path, value in calls[0].items():
        if path in known or all(_equal(value, call.get(path)) for call in calls[1:]):
            continue
        values = [call.get(path) for call in calls]
        fitted = (
            _fitted(values, times, n)
            or _fitted_to_whole(values, times, n)
            or _fitted_to_noise(values, times, n, scheduler)
        )
        if fitted is None:
            raise UserError(
                f"argument {path!r} of {name} changes from step to step and is no affine map of the scheduler's time "
                "or of its log noise; pass with call= what leaves it the same at all steps, if it is given at some only"
            )
        if fitted.num_scales > 1:
            raise UserError(
                f"argument {path!r} of {name} gives parts of x_t a time of their own, so they have less noise than the "
                "rest, as with a strength between 0 and 1; give what is given with a strength of 1"
            )
        found[path] = fitted
    if not any(":" not in path for path in found):
        raise UserError(
            f"no argument of {name} follows the scheduler's time by an affine map; this pipeline is not supported"
        )
    return found


def _equal(a: Any, b: Any) -> bool:
    """Exactly equal: what does not change with the step is the same values again."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    return same(a, b)


def _fitted_to_noise(values: Sequence[Any], times: Sequence[float], n: int, scheduler: Any) -> TimeMap | None:
    """An affine map of log(sigma / alpha), such as c_noise = log(sigma) / 4.

    Source: Karras et al., arXiv 2206.00364, table 1.
    """
    if scheduler is None:
        return None
    path = noise_path(scheduler)
    found = _fitted(values, path.log_noise(torch.tensor(times)).tolist(), n)
    return None if found is None else replace(found, path=path)


def _fitted_to_whole(values: Sequence[Any], times: Sequence[float], n: int) -> TimeMap | None:
    """An affine map of the times as they were before the sampler cut them to whole ones (UniPC does)."""
    if not all(isinstance(v, Tensor) and v.is_floating_point() and v.shape == values[0].shape for v in values):
        return None
    rows = torch.stack([v.detach().double().cpu().flatten() for v in values])
    changing = rows[:, int((rows.amax(dim=0) - rows.amin(dim=0)).argmax())]
    for scale, offset in ((0.001, 0.0), (-0.001, 1.0)):
        uncut = (changing - offset) / scale
        if bool(((uncut - torch.tensor(times, dtype=torch.float64)).abs() <= 1.0).all()):
            return _fitted(values, uncut.tolist(), n)
    return None


def _fitted(values: Sequence[Any], times: Sequence[float], n: int) -> TimeMap | None:
    if any(not isinstance(v, Tensor | int | float) or isinstance(v, bool) for v in values):
        return None
    rows = [torch.as_tensor(v).detach().double().cpu() for v in values]
    if any(row.shape != rows[0].shape for row in rows):
        return None
    dtype = torch.as_tensor(values[0]).dtype
    dtype = torch.float32 if dtype == torch.float64 else dtype
    error_of = allowed(torch.stack(rows)) if dtype.is_floating_point else TOLERANCE
    is_rounded = error_of == ROUNDING
    far = max(range(len(times)), key=lambda k: abs(times[k] - times[0]))
    slope = (rows[far] - rows[0]) / (times[far] - times[0])
    slope = _snapped(slope, _KNOWN, error_of * slope.abs()) if is_rounded else slope
    shift = rows[0] - slope * times[0]
    shift = _snapped(shift, _KNOWN[:3], error_of * rows[0].abs()) if is_rounded else shift
    spread, largest = (rows[far] - rows[0]).abs(), torch.stack(rows).abs().amax(dim=0)
    for t, row in zip(times, rows, strict=True):
        error = (slope * t + shift - row).abs()
        # what was rounded before something else was subtracted from it is off by a share of the largest
        size = largest if is_rounded else row.abs() + 1e-3
        if not bool((error <= error_of * size).all() and (error <= NEAR * spread + ROUNDING * row.abs()).all()):
            return None
    shape = tuple(rows[0].shape[1:]) if rows[0].ndim and rows[0].shape[0] % n == 0 else ()
    flat_a, flat_b = slope.reshape(-1), shift.reshape(-1)
    if bool((flat_a == flat_a[0]).all()) and bool((flat_b == flat_b[0]).all()):
        return TimeMap(_rounded(float(flat_a[0])), _rounded(float(flat_b[0])), shape, dtype)
    per_row = slope.reshape(-1, *shape), shift.reshape(-1, *shape)
    if not shape or any(not same(part[k], part[0]) for part in per_row for k in range(len(part))):
        return None
    return TimeMap(per_row[0][0].float(), per_row[1][0].float(), shape, dtype)


def _snapped(values: Tensor, round_numbers: Sequence[float], allowed: Tensor) -> Tensor:
    """The values, or 0 or else the nearest round number where that is no further away than allowed."""
    values = torch.where(values.abs() <= allowed, torch.zeros_like(values), values)
    known = torch.tensor(round_numbers, dtype=values.dtype)
    nearest = known[(values.unsqueeze(-1) - known).abs().argmin(dim=-1)]
    return torch.where((values - nearest).abs() <= allowed, nearest, values)


def _rounded(value: float) -> float:
    """The round number within half precision's error, if there is one: 0.001 for 0.00099999."""
    for known in _KNOWN:
        if abs(value - known) <= 1e-3 * max(abs(known), 1e-3):
            return known
    return value
