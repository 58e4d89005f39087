"""The parts of the tones world put together as a StableAudioPipeline folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import StableAudioPipeline
from torch import nn

from condistill.files import read_json, write_json
from condistill.world.tones import teacher, text

PARTS = ("tokenizer", "text_encoder", "projection_model", "vae", "transformer", "scheduler")


def assemble(codec: Any, denoiser: Any, *, seed: int) -> StableAudioPipeline:
    """The pipeline of a codec and a denoiser; its other parts follow from the seed."""
    tokenizer = text.make_tokenizer()
    return StableAudioPipeline(
        vae=codec,
        text_encoder=text.make_text_encoder(tokenizer, seed),
        projection_model=teacher.make_projection(seed),
        tokenizer=tokenizer,
        transformer=denoiser,
        scheduler=teacher.make_sampler(),
    )


def save_half(pipeline: StableAudioPipeline, folder: Path) -> None:
    """Writes the pipeline with the weights of denoiser and codec in float16; older files of it are replaced.

    The text encoder stays in float32: transformers would otherwise load it in float16 beside a denoiser in float32.
    """
    for name in PARTS:
        shutil.rmtree(folder / name, ignore_errors=True)
    halved = (pipeline.transformer, pipeline.vae)
    for part in halved:
        nn.Module.to(part, torch.float16)
    pipeline.save_pretrained(folder)
    for part in halved:
        nn.Module.to(part, torch.float32)
    for path in folder.rglob("config.json"):
        config = read_json(path)
        write_json(path, {key: value for key, value in config.items() if key != "_name_or_path"})
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
