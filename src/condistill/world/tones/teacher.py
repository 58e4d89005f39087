"""The denoiser of the tones world: a small Stable Audio transformer over the codec's frames, with v-prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import EDMDPMSolverMultistepScheduler, StableAudioDiTModel
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from condistill.maths import draws
from condistill.world.emoji.timed import Budget, train_timed
from condistill.world.tones.codec import CHANNELS
from condistill.world.tones.render import LENGTH, NUM_FRAMES, RATE
from condistill.world.tones.text import WIDTH

HEADS, HEAD_WIDTH, LAYERS = 4, 32, 6
BATCH = 64
PEAK_LR = 2e-3
EMA = 0.995
P_NULL = 0.1
SIGMA_MIN, SIGMA_MAX = 0.03, 50.0


@dataclass(frozen=True)
class Pairs:
    """What the denoiser learns from: latents of takes, the captions' condition, and which caption each take has."""

    latents: Float[Tensor, "n c f"]
    conditions: Float[Tensor, "m t d"]
    caption: np.ndarray
    seconds: Float[Tensor, "1 1 d"]


def make_denoiser() -> StableAudioDiTModel:
    """An untrained transformer."""
    return StableAudioDiTModel(
        sample_size=NUM_FRAMES,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=LAYERS,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        num_key_value_attention_heads=HEADS,
        cross_attention_dim=HEADS * HEAD_WIDTH,
        cross_attention_input_dim=WIDTH,
        time_proj_dim=64,
        global_states_input_dim=2 * WIDTH,
    )


def make_projection(seed: int) -> StableAudioProjectionModel:
    """What turns start and end in seconds into two codes: random, since all sounds are equally long."""
    torch.manual_seed(seed)
    return StableAudioProjectionModel(WIDTH, WIDTH, 0, 1).eval().requires_grad_(False)


def make_sampler() -> EDMDPMSolverMultistepScheduler:
    """The sampler that the pipeline ships with; the noise levels are those of the training."""
    return EDMDPMSolverMultistepScheduler(
        sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, sigma_data=1.0, sigma_schedule="exponential",
        prediction_type="v_prediction",
    )  # fmt: skip


@torch.no_grad()
def seconds(projection: Any) -> tuple[Float[Tensor, "1 2 d"], Float[Tensor, "1 1 d"]]:
    """The two codes of start and end, as tokens and as the global state."""
    ends = [torch.tensor([value]) for value in (0.0, LENGTH / RATE)]
    found = projection(start_seconds=ends[0], end_seconds=ends[1])
    start, end = found.seconds_start_hidden_states, found.seconds_end_hidden_states
    return torch.cat([start, end], dim=1), torch.cat([start, end], dim=2)


def conditions_of(encode: Callable[[Sequence[str]], Tensor], texts: Sequence[str], projection: Any) -> Tensor:
    """What the pipeline gives the denoiser to attend to: words, then start and end, (n, f, d)."""
    words = encode(texts)
    return torch.cat([words, seconds(projection)[0].expand(len(words), -1, -1)], dim=1)


def train_denoiser(pairs: Pairs, budget: Budget, on_save: Callable[[StableAudioDiTModel], None]) -> StableAudioDiTModel:
    """The moving average of the trained denoiser.

    Args:
        on_save: is given the average so far, whenever the state is saved.
    """
    torch.manual_seed(budget.seed)
    network, average = make_denoiser(), make_denoiser().requires_grad_(False)
    average.load_state_dict(network.state_dict())
    parameters: tuple[Tensor, ...] = tuple(network.parameters())
    averaged: tuple[Tensor, ...] = tuple(average.parameters())
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LR, betas=(0.9, 0.99), weight_decay=1e-4)
    rotary = get_1d_rotary_pos_embed(HEAD_WIDTH // 2, NUM_FRAMES + 1, use_real=True, repeat_interleave_real=False)

    def step(number: int) -> dict[str, float]:
        samples = draws.numbers(number * BATCH, BATCH)
        x0, condition = _batch(pairs, budget.seed, samples)
        share = torch.from_numpy(draws.uniforms(budget.seed, "tones sigma", samples)).float()
        sigma = SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** share
        eps = draws.normal(budget.seed, "tones noise", samples[:1], x0.shape)[0]
        size = (sigma**2 + 1).sqrt().view(-1, 1, 1)
        alpha, noise = 1 / size, sigma.view(-1, 1, 1) / size
        answer = network(
            alpha * x0 + noise * eps, sigma.log() / 4, condition, pairs.seconds.expand(BATCH, -1, -1), rotary,
            return_dict=False,
        )[0]  # fmt: skip
        loss = functional.mse_loss(answer, alpha * eps - noise * x0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 1 - min(EMA, (1 + number) / (10 + number)))
        return {"loss": loss.item()}

    parts = {"network": network, "average": average}
    train_timed(
        step, budget, what="teacher", optimizer=optimizer, parts=parts, images_per_step=BATCH,
        on_save=lambda: on_save(average),
    )  # fmt: skip
    return average.eval()


def _batch(pairs: Pairs, seed: int, samples: np.ndarray) -> tuple[Tensor, Tensor]:
    rows = draws.integers(seed, "tones take", samples, len(pairs.latents))
    dropped = torch.from_numpy(draws.uniforms(seed, "tones drop", samples) < P_NULL)
    # the pipeline's guidance has zeros in place of words and seconds
    condition = pairs.conditions[torch.from_numpy(pairs.caption[rows])]
    return pairs.latents[torch.from_numpy(rows)], condition.masked_fill(dropped.view(-1, 1, 1), 0.0)
