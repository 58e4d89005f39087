"""How many images look like one of the reference?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from condistill.evaluate.metrics import Material, Measured, mean_of
from condistill.evaluate.metrics._neighbours import FEATURE, both, distances, radii


@dataclass(frozen=True)
class Precision:
    """Share of the images that lie in the ball of some reference image; bootstrap over the images."""

    name: str = "precision"
    label: str = "Precision"
    unit: str = "share"
    higher_is_better: bool = True
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = (FEATURE,)
    wants_reference: bool = True

    def compute(self, material: Material) -> Measured:
        """The share of the group."""
        sets = both(self.name, material)
        reach = radii(sets.reference)
        values = [(block <= reach).any(axis=1) for block in distances(sets.images, sets.reference)]
        return mean_of(np.concatenate(values), len(sets.images), material.seed)


METRIC = Precision()
