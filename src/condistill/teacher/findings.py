"""What recordings say: pure functions from recorded calls to findings, each checked on all that was recorded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.teacher.recording import Leaves, Recording

# relative; recorded values went through half precision at most once between two runs of the same pipeline
TOLERANCE = 2e-3


def tensors(leaves: Leaves) -> dict[str, Tensor]:
    """The leaves that are tensors."""
    return {path: value for path, value in leaves.items() if isinstance(value, Tensor)}


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two recorded values are equal: integers exactly, floats within TOLERANCE of the largest."""
    if a.shape != b.shape:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    a, b = a.detach().double(), b.detach().double()
    return bool((a - b).abs().max() <= TOLERANCE * (a.abs().max() + 1e-12)) if a.numel() else True


def find_x(whole: Recording, name: str) -> tuple[int, str, int]:
    """Blocks of rows, path of x_t, number of extra channels: the leaf that is the scheduler's sample times a factor."""
    # two items; DiT steps its scheduler with the doubled batch, so the sample itself may hold more rows
    n, sample = 2, whole.samples[0][:2].double()
    channels = sample.shape[1]
    for path, value in tensors(whole.calls[0]).items():
        fits = value.ndim == sample.ndim and value.shape[0] % n == 0 and value.shape[2:] == sample.shape[2:]
        if not fits or not value.is_floating_point() or value.shape[1] < channels:
            continue
        rows = value[:, :channels].double().unflatten(0, (-1, n))
        factor = (rows[0] * sample).sum() / sample.square().sum()
        if all(same(block, sample * factor) for block in rows) and factor.abs() > 1e-6:
            return len(rows), path, value.shape[1] - channels
    shapes = ", ".join(f"{path} {tuple(value.shape)}" for path, value in tensors(whole.calls[0]).items())
    raise UserError(
        f"no argument of {name} is the scheduler's sample {tuple(sample.shape)}, scaled, doubled or with extra "
        f"channels; it got {shapes}: this pipeline is not supported yet"
    )


def scalar(value: Any) -> float | None:
    """The one number that a value holds, however often; None if it holds several or none."""
    if isinstance(value, Tensor):
        flat = value.detach().double().reshape(-1)
        return float(flat[0]) if flat.numel() and bool((flat == flat[0]).all()) and value.ndim <= 1 else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def find_time(whole: Recording, name: str) -> tuple[str, float, float]:
    """Path of the time and the affine map from the scheduler's time to it, fitted on two steps, checked on all."""
    per_step = max(1, len(whole.calls) // len(whole.times))
    calls, times = whole.calls[::per_step][: len(whole.times)], whole.times
    first, last = 0, len(calls) - 1
    for path in calls[0]:
        values = [scalar(call.get(path)) for call in calls]
        if any(value is None for value in values) or values[first] == values[last] or times[first] == times[last]:
            continue
        slope = (values[last] - values[first]) / (times[last] - times[first])  # type: ignore[operator]
        shift = values[first] - slope * times[first]  # type: ignore[operator]
        expected = [slope * t + shift for t in times]
        if all(abs(e - v) <= TOLERANCE * (abs(e) + 1e-3) for e, v in zip(expected, values, strict=False)):  # type: ignore[operator]
            slope, shift = rounded(slope), rounded(shift)
            return path, slope, shift
    raise UserError(
        f"no argument of {name} follows the scheduler's time by an affine map; this pipeline is not supported"
    )


def rounded(value: float) -> float:
    """The round number within half precision's error, if there is one: 0.001 for 0.00099999."""
    for known in (0.0, 1.0, -1.0, 0.001, -0.001):
        if abs(value - known) <= 1e-3 * max(abs(known), 1e-3):
            return known
    return value


def refuse_per_step(whole: Recording, known: set[str], name: str) -> None:
    """Nothing, if no further argument changes between the first and the last step.

    Raises:
        UserError: one does, by name.
    """
    per_step = max(1, len(whole.calls) // len(whole.times))
    first, last = whole.calls[0], whole.calls[::per_step][-1]
    for path, value in tensors(first).items():
        other = last.get(path)
        if path not in known and isinstance(other, Tensor) and not same(value, other):
            raise UserError(
                f"argument {path!r} of {name} changes from step to step; this pipeline is not supported yet"
            )


def key_paths(before: Leaves, after: Leaves, ignored: set[str], blocks: int, name: str) -> dict[str, int]:
    """Leaves that belong to the key, with their conditional block: row (block, 1) changed and no other row did."""
    paths: dict[str, int] = {}
    for path, value in tensors(before).items():
        other = after.get(path)
        if path in ignored or not isinstance(other, Tensor):
            continue
        if value.shape != other.shape:
            raise UserError(
                f"argument {path!r} of {name} changes its shape with the key; this pipeline is not supported"
            )
        if same(value, other):
            continue
        if value.shape[0] != 2 * blocks:
            raise UserError(f"argument {path!r} of {name} depends on the key but has no row per item; not supported")
        changed = [
            (block, item)
            for block in range(blocks)
            for item in range(2)
            if not same(value[2 * block + item], other[2 * block + item])
        ]
        if len(changed) != 1 or changed[0][1] != 1:
            raise UserError(f"changing one key changed rows {changed} of argument {path!r} of {name}; not supported")
        paths[path] = changed[0][0]
    if not paths:
        raise UserError(f"no argument of {name} depends on the key; random conditioning needs a conditional pipeline")
    return paths


def sorted_rest(pair: Leaves, alone: Leaves, known: set[str], blocks: int) -> tuple[dict[str, Tensor], Leaves]:
    """Leaves with a row per item (their row count follows the number of keys) as one row each, and the constants."""
    bound: dict[str, Tensor] = {}
    constants: Leaves = {}
    for path, value in pair.items():
        if path in known:
            continue
        single = alone.get(path)
        has_rows = isinstance(value, Tensor) and isinstance(single, Tensor) and value.ndim and single.ndim
        if has_rows and value.shape[0] == 2 * blocks and single.shape[0] == blocks:  # type: ignore[union-attr]
            bound[path] = value[0].detach().clone()
        else:
            constants[path] = value.detach() if isinstance(value, Tensor) else value
    return bound, constants
