"""Is the background of the colour that the prompt names?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condistill.evaluate.metrics import Material, Measured, share


@dataclass(frozen=True)
class ColourAccuracy:
    """Share of the images whose background has, for the judge, the colour that the prompt names; Wilson interval."""

    name: str = "colour_accuracy"
    label: str = "Right colour"
    unit: str = "share"
    higher_is_better: bool = True
    needs: Literal["judge"] = "judge"

    def compute(self, material: Material) -> Measured:
        """The share of right colours."""
        assert material.colour is not None and material.judged_colour is not None
        return share(material.judged_colour == material.colour, material.seed)


METRIC = ColourAccuracy()
