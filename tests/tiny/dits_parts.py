"""What the transformer pipelines share: seeds, networks that react, an autoencoder, pictures, call arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, Kandinsky5Transformer3DModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from tests.tiny.pipelines import text_encoder


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Draws inside are the same every time and leave the global generator alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def awake(network: Any) -> Any:
    """The network in evaluation mode, with small numbers where it starts with zeros."""
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(std=0.02)
    return network.eval()


def bold(network: Any, factor: float = 2.0) -> Any:
    """The network with larger matrices, so that the text does not fade on the way to the output."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(factor if weight.ndim > 1 else 1.0)
    return network


def flow_vae(channels: int = 16) -> Any:
    """A KL autoencoder, downsampling 2, whose latents are shifted, as those of flow models are."""
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=channels,
        shift_factor=0.1,
        scaling_factor=0.5,
    ).eval()


def picture(size: int = 16) -> Image.Image:
    """A picture of seeded noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def mask(size: int = 16) -> Image.Image:
    """A mask: the right half is to be painted."""
    pixels = np.zeros((size, size), dtype=np.uint8)
    pixels[:, size // 2 :] = 255
    return Image.fromarray(pixels)


def small(size: int = 16, **more: Any) -> dict[str, Any]:
    """A small square image is wanted."""
    return dict(height=size, width=size, **more)


def still(*images: str, size: int = 16, **more: Any) -> dict[str, Any]:
    """A small square, texts of 32 tokens, and a picture for each argument named (a mask where its name says so)."""
    pictures = {name: mask(size) if "mask" in name else picture(size) for name in images}
    return small(size, **{"max_sequence_length": 32, **pictures, **more})


def kandinsky5_transformer(num_visual_blocks: int = 4, **more: Any) -> Any:
    """Kandinsky 5's network for pictures and videos."""
    return awake(
        Kandinsky5Transformer3DModel(
            in_visual_dim=4,
            out_visual_dim=4,
            in_text_dim=16,
            in_text_dim2=16,
            time_dim=16,
            model_dim=24,
            ff_dim=48,
            num_text_blocks=1,
            num_visual_blocks=num_visual_blocks,
            axes_dims=(4, 4, 4),
            **more,
        )
    )


def long_clip() -> Any:
    """The tiny CLIP text encoder with the 77 positions that many pipelines ask for whatever its tokenizer says."""
    return CLIPTextModel(CLIPTextConfig(**{**text_encoder().config.to_dict(), "max_position_embeddings": 77})).eval()
