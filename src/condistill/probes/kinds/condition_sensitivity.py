"""How much the condition decides of the teacher's prediction, and how much x_t does, by noise level.

Every x_t of a few items is predicted under every one of their conditions, so that two variances can be told apart:
over the conditions at a given x_t, and over x_t at a given condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from condistill.cache.batch import Batch
from condistill.errors import UserError
from condistill.maths.denoised import denoised, implies_x0, kind_of
from condistill.maths.draws import normal, numbers, permuted
from condistill.probes.kinds import Chart, Curve, Finding, Material

NUM_ITEMS = 12  # 12 x 12 predictions a level: a tenth of what 300 training steps of 32 cost
NUM_LEVELS = 11
SPACES = ("prediction", "x0")


@dataclass(frozen=True)
class Level:
    """What was measured at one noise level, per element of the latent.

    Attributes:
        t, u: the level.
        over_conditions: space -> (n,) for each x_t the variance of the prediction over conditions; space is
            "prediction" (as the network answers) or "x0" (the clean sample that this implies).
        over_noisy: space -> the variance of the prediction over x_t at a given condition, mean over conditions.
        shared: space -> the part of the variance over conditions that is the same at every x_t (the main effect of a
            two-way analysis of variance, without its interaction).
    """

    t: float
    u: float
    over_conditions: dict[str, Float[np.ndarray, " n"]]
    over_noisy: dict[str, float]
    shared: dict[str, float]


def different_items(cache: Any, num_items: int = NUM_ITEMS, *, seed: int = 0) -> Batch:
    """Up to `num_items` items of D whose keys all differ, in a seeded order.

    Raises:
        UserError: D has fewer than two different keys.
    """
    rows: dict[str, int] = {}
    for index in permuted(seed, "probe/items", numbers(0, len(cache)), len(cache)):
        if len(rows) == num_items:
            break
        rows.setdefault(repr(cache.keys[int(index)]), int(index))
    if len(rows) < 2:
        raise UserError(f"{cache.folder} has one key only; how much the condition decides takes two or more")
    return cache.read(list(rows.values()))


@torch.no_grad()
def sensitivity(
    teacher: Any,
    batch: Batch,
    *,
    seed: int = 0,
    num_levels: int = NUM_LEVELS,
    spaces: Sequence[str] = SPACES,
    advance: Callable[[int], None] = lambda n: None,
) -> list[Level]:
    """One `Level` for each noise level, evenly spread over the training distribution, rising.

        x_t^i = alpha_t x0_i + sigma_t eps_i;  P_ij = T(x_t^i, t, c_j);  Var_j P_ij and Var_i P_ij

    Args:
        teacher: a Teacher, recorded with the call that D was made by.
        batch: n items with different keys.
        seed: of the noise.
        num_levels: noise levels.
        spaces: "prediction", "x0" or both.
        advance: called with the number of levels done.

    Raises:
        UserError: x0 cannot be had from this teacher's prediction.
    """
    ends = torch.linspace(0, 1 - 1e-6, num_levels, dtype=torch.float64)
    times = teacher.noise_path.times(ends)
    u = teacher.noise_path.u(times)
    found = []
    for k in torch.argsort(u).tolist():
        eps = normal(seed, f"probe/noise/{k}", numbers(0, len(batch.keys)), batch.x0.shape[1:])
        found.append(_level(teacher, batch, eps, times[k], float(u[k]), spaces))
        advance(1)
    return found


def _level(teacher: Any, batch: Batch, eps: Tensor, time: Tensor, u: float, spaces: Sequence[str]) -> Level:
    n, device = len(batch.keys), teacher.device
    t = time.expand(n).to(device)
    x_t = teacher.noise_path.add_noise(batch.x0.to(device), eps.to(device), t)
    by_row: dict[str, list[float]] = {space: [] for space in spaces}
    sums = {space: [torch.zeros(()), torch.zeros(())] for space in spaces}
    for i in range(n):
        bound = {path: rows[i : i + 1].expand(n, *rows.shape[1:]) for path, rows in batch.bound.items()}
        noisy = x_t[i : i + 1].expand(n, *x_t.shape[1:])
        said = teacher.predict(noisy, t, teacher.encode(batch.keys, bound))
        for space in spaces:
            values = (_x0(teacher, said, noisy, t) if space == "x0" else said).cpu().double()  # (n, *out)
            by_row[space].append(float(values.var(dim=0).mean()))
            total, squares = sums[space]
            sums[space] = [total + values, squares + values.square()]
    # double precision: the variance over x_t is what is left of two nearly equal numbers
    columns = {s: float((squares - total.square() / n).mean() / (n - 1)) for s, (total, squares) in sums.items()}
    # Var_j of the means over i is shared + interaction / n, the mean over i of Var_j is shared + interaction
    of_means = {s: float((total / n).var(dim=0).mean()) for s, (total, _) in sums.items()}
    shared = {s: (n * of_means[s] - sum(rows) / n) / (n - 1) for s, rows in by_row.items()}
    return Level(float(time), u, {space: np.array(rows) for space, rows in by_row.items()}, columns, shared)


def _x0(teacher: Any, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    path = teacher.noise_path
    said = prediction * teacher.answer_sign
    return denoised(said, x_t, t, path=path, prediction_type=kind_of(teacher.scheduler, path))


@dataclass(frozen=True)
class ConditionSensitivity:
    """How much the prediction changes when the condition is exchanged, by noise level.

    `change` is the mean squared change of an element of the prediction between two conditions at the same x_t, twice
    the variance over conditions; `of_largest` is that divided by its largest value, `decided` the part of all variance
    (over conditions and over x_t) that the condition decides alike at every x_t. Each as the network answers and in x0
    space, where the teacher's process is VP or flow.
    """

    name: str = "condition_sensitivity"
    label: str = "sensitivity to the condition"

    def parts(self, material: Material) -> int:
        """Noise levels."""
        return NUM_LEVELS

    def ask(self, material: Material, advance: Callable[[int], None]) -> Finding:
        """`spaces`: space -> one row per level with u, t, change (low, high), of_largest and decided."""
        teacher, path = material.teacher, material.teacher.noise_path
        # of an EDM or cascade teacher what the network says is all there is
        implies = teacher.answer_sign is not None and implies_x0(path, kind_of(teacher.scheduler, path))
        spaces = [s for s in SPACES if s != "x0" or implies]
        levels = sensitivity(teacher, material.first(), seed=material.seed, spaces=spaces, advance=advance)
        found = {space: _rows(levels, space) for space in spaces}
        table = [["u", *(f"{name} in {space}" for space in spaces for name in ("change", "decided"))]]
        for k, level in enumerate(levels):
            cells = [f"{found[space][k][name]:.4g}" for space in spaces for name in ("change", "decided")]
            table.append([f"{level.u:.2f}", *cells])
        charts = tuple(_chart(space, rows) for space, rows in found.items())
        return Finding({"spaces": found}, table, charts)


def _rows(levels: Sequence[Level], space: str) -> list[dict[str, float]]:
    changes = [2 * level.over_conditions[space] for level in levels]
    largest, rows = max(float(change.mean()) for change in changes), []
    for level, change in zip(levels, changes, strict=True):
        mean, half = float(change.mean()), 1.96 * float(change.std(ddof=1)) / len(change) ** 0.5
        every = level.shared[space] + level.over_noisy[space]
        rows.append({"u": level.u, "t": level.t, "change": mean, "low": mean - half, "high": mean + half,
                     "of_largest": mean / largest if largest else 0.0,
                     "decided": max(level.shared[space], 0.0) / every if every > 0 else 0.0})  # fmt: skip
    return rows


def _chart(space: str, rows: Sequence[Mapping[str, float]]) -> Chart:
    names = {"of_largest": "change, of its largest", "decided": "decided by the condition"}
    u = [row["u"] for row in rows]
    curves = tuple(Curve(title, u, [row[name] for row in rows]) for name, title in names.items())
    return Chart(f"Sensitivity to the condition, space: {space}", curves)


PROBE = ConditionSensitivity()
