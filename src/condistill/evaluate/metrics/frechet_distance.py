"""How far is the model's distribution of images from the teacher's?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condistill.evaluate.metrics import Material, Measured
from condistill.evaluate.metrics._frechet import measured


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
    wants_reference: bool = True

    def compute(self, material: Material) -> Measured:
        """The distance to the reference of the group.

        Raises:
            UserError: the group has fewer than two items.
        """
        features, reference = material.features, material.reference
        assert features is not None and reference is not None
        return measured(self.name, features, reference, material.seed)


METRIC = FrechetDistance()
