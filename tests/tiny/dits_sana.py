"""Sana pipelines: linear attention on the latents of a deep-compression autoencoder; PAG, Sprint, ControlNet."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AutoencoderDC,
    FlowMatchEulerDiscreteScheduler,
    SanaControlNetModel,
    SanaTransformer2DModel,
    SCMScheduler,
)

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, seeded, still

SIZES: dict[str, Any] = dict(
    in_channels=4,
    out_channels=4,
    num_attention_heads=2,
    attention_head_dim=8,
    num_cross_attention_heads=2,
    cross_attention_head_dim=8,
    cross_attention_dim=16,
    caption_channels=16,
    sample_size=8,
)


def deep_vae() -> Any:
    """A deep-compression autoencoder, downsampling 2."""
    return AutoencoderDC(
        latent_channels=4,
        attention_head_dim=4,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        upsample_block_type="interpolate",
        downsample_block_type="stride_conv",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
    ).eval()


def sana(name: str, **more: Any) -> Any:
    """A Sana pipeline, 4 blocks; Sprint's is told its guidance scale and normalises queries and keys."""
    sprint = "Sprint" in name
    with seeded():
        if "ControlNet" in name:
            more["controlnet"] = awake(SanaControlNetModel(num_layers=2, **SIZES))
        norms = {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"} if sprint else {}
        return getattr(diffusers, name)(
            transformer=awake(SanaTransformer2DModel(num_layers=4, **SIZES, **norms)),
            vae=deep_vae(),
            text_encoder=texts.gemma2(),
            tokenizer=texts.gemma_tokenizer(),
            scheduler=SCMScheduler() if sprint else FlowMatchEulerDiscreteScheduler(shift=3.0),
            **more,
        )


_call = partial(still, size=32, use_resolution_binning=False, complex_human_instruction=None)

CASES = (
    Case("sana", "linear DiT", partial(sana, "SanaPipeline"), _call),
    Case("sana-pag", "guidance", partial(sana, "SanaPAGPipeline", pag_applied_layers="transformer_blocks.0"), _call),
    Case("sana-sprint", "few steps", partial(sana, "SanaSprintPipeline"), partial(_call, intermediate_timesteps=None)),
    Case(
        "sana-sprint-img2img",
        "few steps",
        partial(sana, "SanaSprintImg2ImgPipeline"),
        partial(_call, "image", strength=0.5, intermediate_timesteps=None),
    ),
    Case(
        "sana-controlnet",
        "control",
        partial(sana, "SanaControlNetPipeline"),
        partial(_call, "control_image"),
        component="transformer",
    ),
)
