"""The embedded text-to-sound teacher: half a second of an instrument, a StableAudioPipeline of 3.5 million weights.

>>> folder().name
'weights'
>>> prompts("unseen")[0]
'a deep trumpet playing a long note'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.world.tones.concepts import ARTICULATIONS, PITCHES, TIMBRES, caption, is_unseen, parse, prompts, source

if TYPE_CHECKING:
    from condistill.world.tones.listen import Judge

__all__ = [
    "folder",
    "default_call",
    "judge",
    "prompts",
    "source",
    "parse",
    "caption",
    "is_unseen",
    "TIMBRES",
    "PITCHES",
    "ARTICULATIONS",
]


def folder() -> Path:
    """The pipeline folder that ships with the package."""
    return Path(__file__).parent / "weights"


def default_call() -> dict[str, Any]:
    """The pipeline's call arguments with which the teacher samples best."""
    return {"num_inference_steps": 12, "guidance_scale": 2.0}


def judge() -> Judge:
    """The judge, for evaluation only."""
    from condistill.world.tones.listen import shared

    return shared()
