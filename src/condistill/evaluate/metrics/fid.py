"""The Frechet Inception distance: how far is the distribution of images from the reference's?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condistill.evaluate.metrics import Material, Measured
from condistill.evaluate.metrics._frechet import of_view


@dataclass(frozen=True)
class FID:
    """Frechet distance of Inception's pool features, 2048 of them, to those of the reference.

    The reference is a folder of images, statistics as pytorch-fid writes them, or else the teacher's images of other
    seeds. The input is pytorch-fid's. With n images it is biased upwards, the more the smaller n is, so compare equal n
    only. A student can gain here while it loses in inception_score and clip_score: read them together.

    Source: Heusel et al. (2017).
    """

    name: str = "fid"
    label: str = "FID"
    unit: str = "squared distance"
    higher_is_better: bool = False
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = ("inception",)
    wants_reference: bool = True

    def compute(self, material: Material) -> Measured:
        """The distance to the reference of the group."""
        return of_view(self.name, "inception", material)


METRIC = FID()
