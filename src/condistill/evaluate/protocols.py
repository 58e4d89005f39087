"""Protocols by name: what is measured, how images are sampled and at which size they are looked at.

>>> PROTOCOLS["coco30k"].size
256
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError

if TYPE_CHECKING:
    from condistill.teacher import Teacher


@dataclass(frozen=True)
class Protocol:
    """How an evaluation goes unless the caller says otherwise.

    Attributes:
        metrics: those that are computed where none are named.
        call: the pipeline's own arguments.
        size: images are brought to this many pixels, squared, before a backbone sees them; None leaves them.
        scheduler: the class that the pipeline must sample with; None takes any.
    """

    metrics: tuple[str, ...]
    call: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None
    scheduler: str | None = None

    def check(self, name: str, models: Mapping[str, Teacher]) -> None:
        """Nothing, if all models sample as the protocol wants.

        Raises:
            UserError: another scheduler.
        """
        for model_name, model in models.items():
            found = type(model.scheduler).__name__
            if self.scheduler is not None and found != self.scheduler:
                raise UserError(
                    f"the protocol {name!r} samples with {self.scheduler}, and {model_name!r} has {found}; save the "
                    "pipeline with that scheduler, or use the protocol 'plain', whose record says what was used"
                )


PROTOCOLS: Mapping[str, Protocol] = {
    "world": Protocol(("concept_accuracy", "colour_accuracy", "frechet_distance", "kd_gap")),
    "tones": Protocol(("concept_accuracy", "pitch_accuracy", "frechet_distance", "kd_gap")),
    "plain": Protocol(("kd_gap",)),
    # Kim et al. (2025) and BK-SDM: 30,000 captions of COCO val2014, of which the user brings the list
    "coco30k": Protocol(
        ("fid", "inception_score", "clip_score"),
        call={"num_inference_steps": 25, "guidance_scale": 7.5, "height": 512, "width": 512},
        size=256,
        scheduler="PNDMScheduler",
    ),
}
