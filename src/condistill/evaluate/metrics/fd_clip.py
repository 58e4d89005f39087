"""The Frechet distance on CLIP's image embedding instead of Inception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condistill.evaluate.metrics import Material, Measured
from condistill.evaluate.metrics._frechet import of_view


@dataclass(frozen=True)
class FDClip:
    """Frechet distance of CLIP's image embeddings, of length 1, to those of the reference.

    Source: Kynkaanniemi et al., "The role of ImageNet classes in Frechet inception distance" (2023).
    """

    name: str = "fd_clip"
    label: str = "FD (CLIP)"
    unit: str = "squared distance"
    higher_is_better: bool = False
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = ("clip",)
    wants_reference: bool = True

    def compute(self, material: Material) -> Measured:
        """The distance to the reference of the group."""
        return of_view(self.name, "clip", material)


METRIC = FDClip()
