"""How many of the reference images have an image near them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from condistill.evaluate.metrics import Material, Measured, mean_of
from condistill.evaluate.metrics._neighbours import FEATURE, both, distances, radii


@dataclass(frozen=True)
class Coverage:
    """Share of the reference images with an image in their ball; bootstrap over the reference images."""

    name: str = "coverage"
    label: str = "Coverage"
    unit: str = "share"
    higher_is_better: bool = True
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = (FEATURE,)
    wants_reference: bool = True

    def compute(self, material: Material) -> Measured:
        """The share of the group's reference."""
        sets = both(self.name, material)
        reach = radii(sets.reference)
        nearest = [block.min(axis=1) for block in distances(sets.reference, sets.images)]
        values = [np.concatenate(nearest) <= reach]
        return mean_of(np.concatenate(values), len(sets.images), material.seed)


METRIC = Coverage()
