"""The codec of the tones world: an AutoencoderOobleck that is a lapped transform, written down rather than trained.

Frame k of a sound becomes a modified discrete cosine transform (MDCT, sine window, 128 samples a frame, so neighbours
overlap by half and add up to the sound again), of which the principal components are kept, each scaled to zero mean and
unit variance. One strided convolution does it and one transposed convolution undoes it; the network's other layers are
set to pass on what they get. What is lost is what the components leave out, and half a frame at either end is faded.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderOobleck
from jaxtyping import Float
from torch import Tensor, nn

from condistill.world.tones.render import FRAME, RATE

CHANNELS = 32  # of a latent
PASSING = -12.0  # the logarithm of a Snake activation's frequency at which it is the identity
SURE = -10.0  # before the softplus: the encoder's standard deviation is next to nothing


def transform() -> Float[np.ndarray, "k t"]:
    """The MDCT of one frame, (FRAME, 2 FRAME); its rows are orthonormal, also to those of the neighbouring frames."""
    t, k = np.arange(2 * FRAME), np.arange(FRAME)[:, None]
    window = np.sin(np.pi / (2 * FRAME) * (t + 0.5))
    return math.sqrt(2 / FRAME) * window * np.cos(np.pi / FRAME * (t + 0.5 + FRAME / 2) * (k + 0.5))


def frames(sounds: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "n f s"]:
    """The overlapping frames of each sound, (n, f, 2 FRAME), silence before and after it."""
    padded = np.pad(sounds, ((0, 0), (FRAME // 2, FRAME // 2)))
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * FRAME, axis=1)[:, ::FRAME]


def fit_codec(sounds: Float[np.ndarray, "n t"]) -> AutoencoderOobleck:
    """The codec whose components are those of the sounds."""
    basis = transform()
    found = frames(sounds) @ basis.T  # (n, f, FRAME)
    rows = found.reshape(-1, FRAME).astype(np.float64)
    _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    kept = vectors[:, ::-1][:, :CHANNELS].T  # (CHANNELS, FRAME), the strongest first
    latents = rows @ kept.T
    return _written(torch.from_numpy(kept @ basis), torch.from_numpy(latents.mean(0)), torch.from_numpy(latents.std(0)))


def make_codec() -> AutoencoderOobleck:
    """The network, with weights that mean nothing yet."""
    return AutoencoderOobleck(
        encoder_hidden_size=2 * CHANNELS,
        downsampling_ratios=[FRAME],
        channel_multiples=[1],
        decoder_channels=CHANNELS,
        decoder_input_channels=CHANNELS,
        audio_channels=1,
        sampling_rate=RATE,
    )


@torch.no_grad()
def _written(analysis: Float[Tensor, "c s"], mean: Float[Tensor, " c"], std: Float[Tensor, " c"]) -> AutoencoderOobleck:
    """The codec that gives (analysis frame - mean) / std, and back."""
    codec = make_codec()
    for module in codec.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            _set(module, torch.zeros_like(module.get_parameter("weight_v")))
        for name in ("alpha", "beta"):
            if isinstance(getattr(module, name, None), nn.Parameter):
                nn.init.constant_(getattr(module, name), PASSING if name == "alpha" else 0.0)
    encoder: Any = codec.encoder
    decoder: Any = codec.decoder
    one = torch.zeros_like(encoder.conv1.weight_v)
    one[0, 0, 3] = 1
    _set(encoder.conv1, one)
    strided = torch.zeros_like(encoder.block[0].conv1.weight_v)
    strided[:CHANNELS, 0] = analysis.float()
    _set(encoder.block[0].conv1, strided)
    last = torch.zeros_like(encoder.conv2.weight_v)
    last[:CHANNELS, :CHANNELS, 1] = torch.diag(1 / std).float()
    _set(encoder.conv2, last, torch.cat([-mean / std, torch.full((CHANNELS,), SURE)]).float())

    first = torch.zeros_like(decoder.conv1.weight_v)
    first[:, :, 3] = torch.diag(std).float()
    _set(decoder.conv1, first, mean.float())
    transposed = torch.zeros_like(decoder.block[0].conv_t1.weight_v)
    transposed[:, 0] = analysis.float()
    _set(decoder.block[0].conv_t1, transposed)
    one = torch.zeros_like(decoder.conv2.weight_v)
    one[0, 0, 3] = 1
    _set(decoder.conv2, one)
    return codec.eval()


def _set(layer: Any, weight: Tensor, bias: Tensor | None = None) -> None:
    """Gives a weight-normalised convolution this weight: a direction and a length per row."""
    length = weight.flatten(1).norm(dim=1).view(-1, 1, 1)
    layer.weight_g.copy_(length)
    layer.weight_v.copy_(torch.where(length > 0, weight, torch.ones_like(weight)))
    if layer.bias is not None:
        layer.bias.zero_() if bias is None else layer.bias.copy_(bias)


@torch.no_grad()
def encode(codec: Any, sounds: Float[np.ndarray, "n t"]) -> Float[Tensor, "n c f"]:
    """Latents in float32; the same as `codec.encode`, without the layers that only pass on."""
    strided, last = codec.encoder.block[0].conv1, codec.encoder.conv2
    weight = torch._weight_norm(strided.weight_v, strided.weight_g, 0)[:CHANNELS, 0]  # (CHANNELS, 2 FRAME)
    found = torch.from_numpy(np.ascontiguousarray(frames(sounds))).float() @ weight.T
    scale = torch._weight_norm(last.weight_v, last.weight_g, 0)[:CHANNELS, :CHANNELS, 1].diagonal()
    return (found * scale + last.bias[:CHANNELS]).transpose(1, 2).contiguous()


@torch.no_grad()
def decode(codec: Any, latents: Float[Tensor, "n c f"], *, batch: int = 64) -> Float[np.ndarray, "n t"]:
    """The sounds of latents."""
    return np.concatenate([codec.decode(part).sample[:, 0].numpy() for part in latents.split(batch)])
