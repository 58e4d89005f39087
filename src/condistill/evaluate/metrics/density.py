"""How densely do the images lie where the reference does?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from condistill.evaluate.metrics import Material, Measured, mean_of
from condistill.evaluate.metrics._neighbours import FEATURE, NEIGHBOURS, both, distances, radii


@dataclass(frozen=True)
class Density:
    """Number of reference balls that an image lies in, divided by k; bootstrap over the images. It may exceed 1.

    Unlike precision it does not take one outlier of the reference, with its large ball, for the whole truth.
    """

    name: str = "density"
    label: str = "Density"
    unit: str = ""
    higher_is_better: bool = True
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = (FEATURE,)
    wants_reference: bool = True

    def compute(self, material: Material) -> Measured:
        """The mean of the group."""
        sets = both(self.name, material)
        reach = radii(sets.reference)
        blocks = distances(sets.images, sets.reference)
        values = [(block <= reach).sum(axis=1) / NEIGHBOURS for block in blocks]
        return mean_of(np.concatenate(values), len(sets.images), material.seed)


METRIC = Density()
