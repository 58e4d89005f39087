"""The embedded text-to-image teacher: emoji on coloured backgrounds, a StableDiffusionPipeline of nine million weights.

>>> folder().name
'weights'
>>> prompts("unseen")[3]
'a panda on a green background'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.world.emoji.concepts import (
    COLOURS,
    CONCEPTS,
    Colour,
    Concept,
    caption,
    is_unseen,
    parse,
    prompts,
    source,
)

if TYPE_CHECKING:
    from condistill.world.emoji.judge import Judge

__all__ = [
    "folder",
    "default_call",
    "judge",
    "prompts",
    "source",
    "parse",
    "caption",
    "is_unseen",
    "CONCEPTS",
    "COLOURS",
    "Concept",
    "Colour",
]


def folder() -> Path:
    """The pipeline folder that ships with the package."""
    return Path(__file__).parent / "weights"


def default_call() -> dict[str, Any]:
    """The pipeline's call arguments with which the teacher samples best."""
    return {"num_inference_steps": 12, "guidance_scale": 2.0}


def judge() -> Judge:
    """The judge that ships with the package, for evaluation only."""
    from condistill.world.emoji.judge import shipped

    return shipped()
