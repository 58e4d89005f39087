"""The kernel Inception distance: unbiased, so that few images are enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from condistill.errors import UserError
from condistill.evaluate.metrics import NUM_RESAMPLES, Material, Measured
from condistill.evaluate.metrics._frechet import images_of
from condistill.evaluate.results import Score
from condistill.maths.distances import resamples

_ROWS = 1000  # of a kernel matrix at once


@dataclass(frozen=True)
class KID:
    """Squared maximum mean discrepancy of Inception's features under (x y / d + 1)^3, estimated without bias.

    All pairs are used instead of the usual mean over random subsets of 1000, which has the same expectation and more
    variance. It may be slightly negative. The interval resamples the images' influence on the estimate, to first order.

    Source: Binkowski et al. (2018), eq. 4.
    """

    name: str = "kid"
    label: str = "KID"
    unit: str = "squared distance"
    higher_is_better: bool = False
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = ("inception",)
    wants_reference: bool = True

    def compute(self, material: Material) -> Measured:
        """The distance to the reference of the group.

        Raises:
            UserError: fewer than two images, or a reference of statistics alone.
        """
        x = np.asarray(material.views["inception"], dtype=np.float64)
        y = images_of(self.name, "inception", material)
        if len(x) < 2 or len(y) < 2:
            raise UserError(f"kid needs at least 2 images, got {len(x)} and {len(y)} of reference; raise num_items")
        within, across = _mean_kernel(x, x, same=True), _mean_kernel(x, y)
        value = float(within.mean() + _mean_kernel(y, y, same=True).mean() - 2 * across.mean())
        influence = 2 * (within - across)
        rows = resamples(len(x), material.seed, num_resamples=NUM_RESAMPLES)
        resampled = value + influence[rows].mean(axis=1) - influence.mean()
        low, high = np.quantile(resampled, [0.025, 0.975])
        return Measured(Score(value, min(float(low), value), max(float(high), value), len(x)), resampled)


def _mean_kernel(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], *, same: bool = False
) -> Float[np.ndarray, " n"]:
    """For each row of x the mean kernel with the rows of y, without itself where y is x."""
    means = []
    for start in range(0, len(x), _ROWS):
        some = x[start : start + _ROWS]
        kernel = (some @ y.T / x.shape[1] + 1) ** 3  # (r, m)
        own = kernel[np.arange(len(some)), start + np.arange(len(some))] if same else 0.0
        means.append((kernel.sum(axis=1) - own) / (len(y) - same))
    return np.concatenate(means)


METRIC = KID()
