"""How far is the model's distribution of images from the teacher's?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from condistill.errors import UserError
from condistill.evaluate.metrics import Material, Measured
from condistill.evaluate.results import Score
from condistill.maths.distances import frechet_to, resamples

_NUM_RESAMPLES = 200  # an eigendecomposition each; 200 are enough for a 95 % interval to two digits


@dataclass(frozen=True)
class FrechetDistance:
    """Frechet distance of the judge's features to those of the teacher's images of the same prompts and other seeds.

    The teacher itself is measured the same way, so its number is the floor that sampling alone gives with this n; the
    distance is biased upwards for small n, equally for all models of one evaluation. Resampling adds that bias once
    more, so the interval is the spread of the resampled distances, moved to lie around the measured one.
    """

    name: str = "frechet_distance"
    label: str = "Fr\u00e9chet distance"
    unit: str = "squared distance"
    higher_is_better: bool = False
    needs: Literal["judge"] = "judge"

    def compute(self, material: Material) -> Measured:
        """The distance to the reference of the group.

        Raises:
            UserError: the group has fewer than two items.
        """
        features, reference = material.features, material.reference
        assert features is not None and reference is not None
        features = np.asarray(features, dtype=np.float64)
        if len(features) < 2 or len(reference) < 2:
            raise UserError(
                f"frechet_distance needs at least 2 images in a group, got {len(features)} and {len(reference)} of "
                "reference; raise num_items or leave the metric out"
            )
        distance = frechet_to(reference)
        value = distance(features)
        rows = resamples(len(features), material.seed, num_resamples=_NUM_RESAMPLES)
        resampled = np.array([distance(features[row]) for row in rows])
        spread = np.quantile(resampled - resampled.mean(), [0.025, 0.975])
        low, high = (value + spread).clip(min=0.0)
        return Measured(Score(value, float(low), float(high), len(features)), resampled)


METRIC = FrechetDistance()
