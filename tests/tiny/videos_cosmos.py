"""Tiny Cosmos pipelines: EDM noise, a first frame in x_t's place, flow matching by UniPC."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLCosmos,
    AutoencoderKLWan,
    CosmosTransformer3DModel,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from tests.tiny.case import Case
from tests.tiny.guardrail import AllIsWell
from tests.tiny.parts import awake, picture, seeded
from tests.tiny.texts import t5, t5_tokenizer
from tests.tiny.videos import clip


def cosmos_transformer(channels: int, **more: Any) -> Any:
    return awake(
        CosmosTransformer3DModel(
            in_channels=channels,
            out_channels=16 if channels > 15 else 4,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=4,
            mlp_ratio=2,
            text_embed_dim=16,
            adaln_lora_dim=4,
            max_size=(4, 32, 32),
            concat_padding_mask=False,  # it needs torchvision
            **more,
        )
    )


def cosmos(kind: str, channels: int) -> Any:
    """Cosmos 1: EDM, a step for both answers and one for what guidance makes of them."""
    with seeded():
        vae = AutoencoderKLCosmos(
            latent_channels=4,
            encoder_block_out_channels=(8, 8, 8, 8),
            decode_block_out_channels=(8, 8, 8, 8),
            attention_resolutions=(8,),
            resolution=64,
            num_layers=2,
            patch_type="haar",
            patch_size=4,
            scaling_factor=1.0,
            latents_mean=None,
            latents_std=None,
        )
        return getattr(diffusers, kind)(
            text_encoder=t5(),
            tokenizer=t5_tokenizer(16),
            transformer=cosmos_transformer(channels),
            vae=vae.eval(),
            scheduler=EDMEulerScheduler(
                sigma_min=0.002,
                sigma_max=80,
                sigma_data=0.5,
                sigma_schedule="karras",
                num_train_timesteps=1000,
                prediction_type="epsilon",
                rho=7.0,
                final_sigmas_type="sigma_min",
            ),
            safety_checker=AllIsWell().eval(),
        )


def cosmos2(kind: str, channels: int) -> Any:
    """Cosmos 2: the pipeline itself turns the sampler's sigmas into times and scales x_t by them."""
    with seeded():
        return getattr(diffusers, kind)(
            text_encoder=t5(),
            tokenizer=t5_tokenizer(16),
            transformer=cosmos_transformer(channels, extra_pos_embed_type=None),
            vae=AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
            safety_checker=AllIsWell().eval(),
        )


def still(**more: Any) -> dict[str, Any]:
    """A small picture's arguments."""
    return {name: value for name, value in clip(**more).items() if name != "num_frames"}


CASES = (
    Case("cosmos-text2world", "video", partial(cosmos, "CosmosTextToWorldPipeline", 4), lambda: clip(9, 32)),
    Case(
        "cosmos-video2world",
        "video",
        partial(cosmos, "CosmosVideoToWorldPipeline", 5),
        lambda: clip(9, 32, image=picture(32)),
    ),
    Case("cosmos2-text2image", "video", partial(cosmos2, "Cosmos2TextToImagePipeline", 16), still),
    Case(
        "cosmos2-video2world",
        "video",
        partial(cosmos2, "Cosmos2VideoToWorldPipeline", 17),
        lambda: clip(image=picture()),
    ),
)
