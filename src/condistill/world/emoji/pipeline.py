"""The parts of the emoji world put together as a StableDiffusionPipeline folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from condistill.world.emoji.teacher import make_sampler


def assemble(parts: Path) -> StableDiffusionPipeline:
    """The pipeline made of the folders tokenizer, text_encoder, vae and unet in `parts`, in float32."""
    return StableDiffusionPipeline(
        vae=AutoencoderTiny.from_pretrained(parts / "vae"),  # pyright: ignore[reportArgumentType]
        text_encoder=CLIPTextModel.from_pretrained(parts / "text_encoder", dtype=torch.float32),
        tokenizer=CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(parts / "unet"),
        scheduler=make_sampler(),  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )


def save_half(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Writes the pipeline with the weights of denoiser and autoencoder in float16.

    The text encoder stays in float32: it is small, and transformers would otherwise load it in float16 beside a
    denoiser in float32. Older files of the pipeline in `folder` are replaced; others stay.
    """
    for name in ("tokenizer", "text_encoder", "vae", "unet", "scheduler"):
        shutil.rmtree(folder / name, ignore_errors=True)
    pipeline.unet.to(torch.float16)
    pipeline.vae.to(torch.float16)
    pipeline.save_pretrained(folder)
    pipeline.unet.to(torch.float32)
    pipeline.vae.to(torch.float32)
