"""Further pipelines on Flux's transformers: Chroma's inpainting, and VisualCloze, whose pictures are examples."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, flow_vae, picture, seeded, still
from tests.tiny.mmdits import FLUX
from tests.tiny.mmdits_flux import chroma
from tests.tiny.pipelines import text_encoder, tokenizer


def visual_cloze(name: str) -> Any:
    """A VisualCloze pipeline, 2 double and 2 single blocks; pictures are scaled to 32 x 32."""
    with seeded():
        transformer = FluxTransformer2DModel(in_channels=16 + 16 + 16, out_channels=16, guidance_embeds=True, **FLUX)
        return getattr(diffusers, name)(
            transformer=awake(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=flow_vae(4),
            text_encoder=text_encoder(),
            tokenizer=tokenizer(),
            text_encoder_2=texts.t5(),
            tokenizer_2=texts.t5_tokenizer(256),
            resolution=32,
        )


def examples(**more: Any) -> dict[str, Any]:
    """One row of a picture and what is to be made of it, and a second one whose end is to be painted."""
    return {"image": [[picture(32), picture(32)], [picture(32), None]], "max_sequence_length": 256, **more}


CASES = (
    # The pipeline asks its transformer for a field of the config that it does not have.
    Case(
        "chroma-inpaint",
        "inpainting",
        partial(chroma, "ChromaInpaintPipeline"),
        partial(still, "image", "mask_image", strength=1.0),
    ),
    Case("visual-cloze", "in context", partial(visual_cloze, "VisualClozeGenerationPipeline"), examples),
    Case(
        "visual-cloze-combined",
        "in context",
        partial(visual_cloze, "VisualClozePipeline"),
        partial(examples, upsampling_strength=0.0),
    ),
)
