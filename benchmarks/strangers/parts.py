"""Components in the sizes of diffusers' own tests: text encoders, autoencoders, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import torch
from diffusers import AutoencoderKL
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.tiny.pipelines import tokenizer


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Draws inside are the same every time and leave the global generator alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def clip(hidden: int = 32, layers: int = 5, *, projection: bool = False) -> Any:
    """A CLIP text encoder as in the tests of Stable Diffusion: 1,000 words, 5 layers, act gelu."""
    size = len(tokenizer())
    config = CLIPTextConfig(
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=1,
        hidden_size=hidden,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=layers,
        layer_norm_eps=1e-05,
        projection_dim=hidden,
        hidden_act="gelu",
        vocab_size=1000,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def words() -> Any:
    """A CLIP tokenizer of letters that pads to 77."""
    made = tokenizer()
    made.model_max_length = 77
    return made


def vae(channels: int = 4, rng: Random | None = None) -> Any:
    """A KL autoencoder that halves a side; 32 and 64 channels as in diffusers' tests, or 4 and 8."""
    out, groups = (rng or Random(0)).choice((((4, 8), 2), ((32, 64), 32), ((4, 8), 1)))
    return AutoencoderKL(
        block_out_channels=out,
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D", "DownEncoderBlock2D"],
        up_block_types=["UpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=channels,
        norm_num_groups=groups,
    )


def picture(size: int = 32, seed: int = 0) -> Image.Image:
    """A picture of seeded noise."""
    drawn = torch.randint(0, 256, (size, size, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(drawn.numpy())


def mask(size: int = 32) -> Image.Image:
    """The right half is to be painted."""
    return Image.fromarray(
        torch.cat([torch.zeros(size, size // 2), torch.full((size, size // 2), 255.0)], 1).byte().numpy()
    )


def awake(network: Any) -> Any:
    """The network with small numbers where it starts with zeros."""
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(std=0.02)
    return network
