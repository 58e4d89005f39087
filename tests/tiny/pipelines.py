"""Builders of tiny pipelines; every one is the real class with a small config."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


def tokenizer() -> Any:
    """A CLIP tokenizer that spells every text in letters."""
    letters = [*string.ascii_lowercase, *string.digits, *".,-!'"]
    words = [*letters, *[f"{c}</w>" for c in letters], "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocab, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocab.write_text(json.dumps({w: k for k, w in enumerate(words)}))
        merges.write_text("#version: 0.2\n")
        return CLIPTokenizer(str(vocab), str(merges), model_max_length=24)


def text_encoder(hidden: int = 16, *, projection: bool = False) -> Any:
    """A CLIP text encoder with 1 layer."""
    size = len(tokenizer())
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        projection_dim=hidden,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def vae() -> Any:
    """A KL autoencoder, 4 latent channels, downsampling 2."""
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    ).eval()


def unet_config(**changes: Any) -> dict[str, Any]:
    """SD's layout, four stages, 16 to 32 channels, 2 heads."""
    config = dict(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=2,
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return {**config, **changes}


def sd(seed: int = 0, *, scheduler: Any = None, **changes: Any) -> StableDiffusionPipeline:
    """A Stable Diffusion pipeline, 16 x 16 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        betas = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
        return StableDiffusionPipeline(
            unet=UNet2DConditionModel(**unet_config(**changes)).eval(),
            scheduler=scheduler or DDIMScheduler(**betas, clip_sample=False, steps_offset=1),
            vae=vae(),
            text_encoder=text_encoder(),
            tokenizer=tokenizer(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def sdxl(seed: int = 0) -> StableDiffusionXLPipeline:
    """A Stable Diffusion XL pipeline: two text encoders, pooled embedding, size ids."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            **unet_config(
                block_out_channels=(16, 32, 32),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                attention_head_dim=(2, 2, 4),
                transformer_layers_per_block=(1, 1, 2),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 16,
                cross_attention_dim=32,
            )
        ).eval()
        return StableDiffusionXLPipeline(
            unet=unet,
            scheduler=EulerDiscreteScheduler(
                beta_schedule="scaled_linear",
                beta_start=0.00085,
                beta_end=0.012,
                timestep_spacing="leading",
                steps_offset=1,
            ),
            vae=vae(),
            text_encoder=text_encoder(),
            text_encoder_2=text_encoder(projection=True),
            tokenizer=tokenizer(),
            tokenizer_2=tokenizer(),
            add_watermarker=False,
        )


def dit(seed: int = 0) -> DiTPipeline:
    """A class-conditional DiT of 10 classes, 4 blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = DiTTransformer2DModel(
            sample_size=8,
            num_layers=4,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            in_channels=4,
            out_channels=8,
            num_embeds_ada_norm=1000,
            norm_num_groups=4,
        ).eval()
        return DiTPipeline(transformer=transformer, vae=vae(), scheduler=DDIMScheduler(clip_sample=False))
