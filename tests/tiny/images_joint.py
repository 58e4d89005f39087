"""Versatile Diffusion, for pictures from texts and from pictures; and Alt Diffusion, of many languages."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers.pipelines.deprecated.alt_diffusion.modeling_roberta_series import (
    RobertaSeriesConfig,
    RobertaSeriesModelWithTransformation,
)
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, processor, sd_like, seeded, small, unet, vision
from tests.tiny.pipelines import sd, text_encoder, tokenizer, unet_config
from tests.tiny.texts import t5_tokenizer


def versatile(kind: str, *, reads: bool = True, sees: bool = True) -> Any:
    """The Versatile Diffusion pipeline of that name; its denoiser has blocks of a U-Net for texts in it."""
    base = sd().components
    parts: dict[str, Any] = dict(image_unet=unet(), vae=base["vae"], scheduler=base["scheduler"])
    flat = unet_config(
        down_block_types=("CrossAttnDownBlockFlat",) * 3 + ("DownBlockFlat",),
        mid_block_type="UNetMidBlockFlatCrossAttn",
        up_block_types=("UpBlockFlat",) + ("CrossAttnUpBlockFlat",) * 3,
    )
    with seeded():
        if reads:
            words = dict(text_encoder=text_encoder(projection=True), tokenizer=tokenizer())
            parts |= dict(**words, text_unet=awake(UNetFlatConditionModel(**flat)))
        if sees:
            parts |= dict(image_encoder=vision(), image_feature_extractor=processor())
        return getattr(diffusers, f"VersatileDiffusion{kind}Pipeline")(**parts)


def alt(kind: str) -> Any:
    """Alt Diffusion: SD that reads with XLM-RoBERTa."""
    config = RobertaSeriesConfig(
        hidden_size=16,
        project_dim=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=len(t5_tokenizer()),
        max_position_embeddings=64,
        pad_token_id=0,
    )
    with seeded():
        reader = RobertaSeriesModelWithTransformation(config).eval()
    return sd_like(kind, text_encoder=reader, tokenizer=t5_tokenizer(32), without=("image_encoder",))


_VIEWS = tuple({"image": picture(size)} for size in (16, 24, 32))
_change = partial(small, "image", size=None, strength=1.0)

CASES = (
    Case("alt", "U-Net", partial(alt, "AltDiffusionPipeline"), small),
    Case("alt-img2img", "image to image", partial(alt, "AltDiffusionImg2ImgPipeline"), _change),
    Case("versatile-text", "U-Net", partial(versatile, "TextToImage", sees=False), small, component="image_unet"),
    Case(
        "versatile-variation", "image condition", partial(versatile, "ImageVariation", reads=False), small, keys=_VIEWS,
    ),
    # It has three calls by other names, and none of its own.
    Case("versatile", "U-Net", partial(versatile, ""), small, component="image_unet"),
)  # fmt: skip
