"""The CLIP score: do the images show what the prompts say?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condistill.evaluate.metrics import Material, Measured, mean_of


@dataclass(frozen=True)
class ClipScore:
    """Mean cosine of CLIP's embeddings of an image and of its prompt, neither scaled nor cut off at 0; bootstrap."""

    name: str = "clip_score"
    label: str = "CLIP score"
    unit: str = "cosine"
    higher_is_better: bool = True
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = ("clip", "clip_text")

    def compute(self, material: Material) -> Measured:
        """The mean cosine of the group."""
        cosines = (material.views["clip"] * material.views["clip_text"]).sum(axis=1)
        return mean_of(cosines, len(cosines), material.seed)


METRIC = ClipScore()
