"""Does the sound have the pitch that the prompt names?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condistill.evaluate.metrics import Material, Measured, share


@dataclass(frozen=True)
class PitchAccuracy:
    """Share of the sounds that have, for the judge, the pitch that the prompt names; Wilson interval."""

    name: str = "pitch_accuracy"
    label: str = "Right pitch"
    unit: str = "share"
    higher_is_better: bool = True
    needs: Literal["judge"] = "judge"

    def compute(self, material: Material) -> Measured:
        """The share of right pitches: what a picture's colour is to a sound."""
        assert material.colour is not None and material.judged_colour is not None
        return share(material.judged_colour == material.colour, material.seed)


METRIC = PitchAccuracy()
