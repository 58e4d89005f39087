"""How far is the student's prediction from the teacher's?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from condistill.evaluate.metrics import NUM_RESAMPLES, Material, Measured
from condistill.evaluate.results import Score
from condistill.maths.distances import resamples


@dataclass(frozen=True)
class KDGap:
    """Mean squared difference to the teacher's prediction at x_t = alpha_t x0 + sigma_t eps, averaged over u.

    x0 are the teacher's own samples of the prompts, the condition is the prompt, and the difference is a mean over the
    elements of the prediction. The teacher's own gap is 0 by definition. Of all metrics it has the least variance.

    Where the student's taps are known, the same of the features there, tap by tap. Taps of different width are left
    out: what compares them in training is a learned projection, which is thrown away with it.
    """

    name: str = "kd_gap"
    label: str = "KD gap"
    unit: str = "squared error"
    higher_is_better: bool = False
    needs: Literal["pairs"] = "pairs"

    def compute(self, material: Material) -> Measured:
        """The gap over all noise levels, with one score per level in `by_time` and one per tap in `by_tap`."""
        errors, levels = material.errors, material.levels
        assert errors is not None and levels is not None
        rows = resamples(len(errors), material.seed, num_resamples=NUM_RESAMPLES)
        resampled = np.stack([column[rows].mean(axis=1) for column in errors.T], axis=1)  # (r, k)
        lows, highs = np.quantile(resampled, [0.025, 0.975], axis=0)
        means = errors.mean(axis=0)
        by_time = tuple(
            {"u": float(u), "value": float(v), "low": float(a), "high": float(b)}
            for u, v, a, b in zip(levels, means, lows, highs, strict=True)
        )
        overall = resampled.mean(axis=1)
        low, high = np.quantile(overall, [0.025, 0.975])
        by_tap = tuple(_tap(name, found, rows) for name, found in material.tap_errors.items())
        return Measured(Score(float(means.mean()), float(low), float(high), len(errors), by_time, by_tap), overall)


def _tap(name: str, errors: Float[np.ndarray, "n k"], rows: Int[np.ndarray, "r n"]) -> dict[str, str | float]:
    """One tap's gap, averaged over the noise levels, with its interval."""
    per_item = errors.mean(axis=1)
    low, high = np.quantile(per_item[rows].mean(axis=1), [0.025, 0.975])
    return {"tap": name, "value": float(per_item.mean()), "low": float(low), "high": float(high)}


METRIC = KDGap()
