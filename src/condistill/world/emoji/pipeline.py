"""The parts of the emoji world put together as a StableDiffusionPipeline folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from condistill.files import read_json, write_json
from condistill.world.emoji.teacher import make_sampler

PARTS = ("tokenizer", "text_encoder", "vae", "unet")
DERIVED = {"vae": "block_out_channels"}


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
    for name in (*PARTS, "scheduler"):
        shutil.rmtree(folder / name, ignore_errors=True)
    pipeline.unet.to(torch.float16)
    pipeline.vae.to(torch.float16)
    pipeline.save_pretrained(folder)
    pipeline.unet.to(torch.float32)
    pipeline.vae.to(torch.float32)
    for name in ("unet", "vae"):
        # where the parts lay is nobody's business; and AutoencoderTiny writes a derived entry of which it then warns
        # on every load (diffusers 0.42)
        config = read_json(folder / name / "config.json")
        kept = {key: value for key, value in config.items() if key not in ("_name_or_path", DERIVED.get(name))}
        write_json(folder / name / "config.json", kept)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def write_result(parts: Path, folder: Path) -> bool:
    """Whether all parts are there and `folder` now holds the pipeline, and the judge if there is one."""
    if not all((parts / name).is_dir() for name in PARTS):
        return False
    save_half(assemble(parts), folder)
    if (parts / "judge").is_dir():
        shutil.copytree(parts / "judge", folder / "judge", dirs_exist_ok=True)
    return True
