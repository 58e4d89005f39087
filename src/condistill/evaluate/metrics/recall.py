"""How much of the reference does the model draw?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from condistill.evaluate.metrics import Material, Measured, mean_of
from condistill.evaluate.metrics._neighbours import FEATURE, both, distances, radii


@dataclass(frozen=True)
class Recall:
    """Share of the reference images that lie in the ball of some image; bootstrap over the reference images."""

    name: str = "recall"
    label: str = "Recall"
    unit: str = "share"
    higher_is_better: bool = True
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = (FEATURE,)
    wants_reference: bool = True

    def compute(self, material: Material) -> Measured:
        """The share of the group's reference."""
        sets = both(self.name, material)
        reach = radii(sets.images)
        values = [(block <= reach).any(axis=1) for block in distances(sets.reference, sets.images)]
        return mean_of(np.concatenate(values), len(sets.images), material.seed)


METRIC = Recall()
