"""Does the image show what the prompt names?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condistill.evaluate.metrics import Material, Measured, share


@dataclass(frozen=True)
class ConceptAccuracy:
    """Share of the images in which the judge sees the concept that the prompt names; Wilson interval."""

    name: str = "concept_accuracy"
    label: str = "Right concept"
    unit: str = "share"
    higher_is_better: bool = True
    needs: Literal["judge"] = "judge"

    def compute(self, material: Material) -> Measured:
        """The share of right concepts."""
        assert material.concept is not None and material.judged_concept is not None
        return share(material.judged_concept == material.concept, material.seed)


METRIC = ConceptAccuracy()
