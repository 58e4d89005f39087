"""The denoiser of the emoji world: a small text-to-image U-Net in latent space, trained with v-prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from condistill.maths import draws
from condistill.world.emoji.concepts import COLOURS, CONCEPTS
from condistill.world.emoji.text import NO_COLOUR, NO_CONCEPT, Captions, draw_captions
from condistill.world.emoji.timed import Budget, placed, train_timed

CHANNELS = (64, 128, 128)
BATCH = 128
PEAK_LR = 2e-3
EMA = 0.998
P_NULL = 0.1
P_MAIN = 0.7  # the share of captions that are the main sentence


@dataclass(frozen=True)
class Pairs:
    """What the denoiser learns from: the latents of all renders, in order, and what turns texts into conditions."""

    latents: Float[Tensor, "n c h w"]
    encode: Callable[[Sequence[str]], Float[Tensor, "b f d"]]


def make_denoiser(*, latent_channels: int, latent_size: int, text_width: int) -> UNet2DConditionModel:
    """An untrained U-Net with cross-attention in its two outer stages."""
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=CHANNELS,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=text_width,
        attention_head_dim=4,  # diffusers means the number of heads
        norm_num_groups=16,
    )


def make_sampler() -> DPMSolverMultistepScheduler:
    """The sampler that the pipeline ships with; its betas are those of the training."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,  # without effect on trailing steps; StableDiffusionPipeline warns of any other (diffusers 0.42)
    )


def rows_for(drawn: Captions, seed: int, samples: np.ndarray, num_rows: int) -> Int[np.ndarray, " b"]:
    """The row of a render that fits each caption; where a caption leaves something open, it is drawn."""
    num_places = num_rows // (len(CONCEPTS) * len(COLOURS))
    any_concept = draws.integers(seed, "teacher any concept", samples, len(CONCEPTS))
    any_colour = draws.integers(seed, "teacher any colour", samples, len(COLOURS))
    concept = np.where(drawn.concept == NO_CONCEPT, any_concept, drawn.concept)
    colour = np.where(drawn.colour == NO_COLOUR, any_colour, drawn.colour)
    place = draws.integers(seed, "teacher place", samples, num_places)
    return (concept * len(COLOURS) + colour) * num_places + place


def train_denoiser(
    pairs: Pairs, budget: Budget, on_save: Callable[[UNet2DConditionModel], None]
) -> UNet2DConditionModel:
    """The moving average of the trained denoiser.

    Args:
        on_save: is given the average so far, whenever the state is saved.
    """
    torch.manual_seed(budget.seed)
    channels, size = pairs.latents.shape[1], pairs.latents.shape[2]
    make = {"latent_channels": channels, "latent_size": size, "text_width": pairs.encode([""]).shape[-1]}
    network = placed(make_denoiser(**make), budget.device)
    average = placed(make_denoiser(**make), budget.device).requires_grad_(False)
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LR, betas=(0.9, 0.99), weight_decay=1e-4)
    alphas_bar = make_sampler().alphas_cumprod.to(budget.device)
    parameters: tuple[Tensor, ...] = tuple(network.parameters())
    averaged: tuple[Tensor, ...] = tuple(average.parameters())

    def step(number: int) -> dict[str, float]:
        samples = draws.numbers(number * BATCH, BATCH)
        x0, condition = _batch(pairs, budget, samples)
        eps = draws.normal(budget.seed, "teacher noise", samples[:1], x0.shape)[0].to(x0)
        t = torch.from_numpy(draws.integers(budget.seed, "teacher t", samples, len(alphas_bar))).to(x0.device)
        alpha, sigma = (share.sqrt()[:, None, None, None] for share in (alphas_bar[t], 1 - alphas_bar[t]))
        x_t = (alpha * x0 + sigma * eps).contiguous(memory_format=torch.channels_last)
        loss = functional.mse_loss(network(x_t, t, condition, return_dict=False)[0], alpha * eps - sigma * x0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 1 - min(EMA, (1 + number) / (10 + number)))
        return {"loss": loss.item()}

    train_timed(
        step,
        budget,
        what="teacher",
        optimizer=optimizer,
        parts={"network": network, "average": average},
        images_per_step=BATCH,
        on_save=lambda: on_save(average),
    )
    return average.eval()


def _batch(pairs: Pairs, budget: Budget, samples: np.ndarray) -> tuple[Tensor, Tensor]:
    drawn = draw_captions(budget.seed, "teacher", samples, main=P_MAIN)
    rows = torch.from_numpy(rows_for(drawn, budget.seed, samples, len(pairs.latents))).to(pairs.latents.device)
    dropped = draws.uniforms(budget.seed, "teacher drop", samples) < P_NULL
    texts = ["" if drop else text for text, drop in zip(drawn.texts, dropped, strict=True)]
    return pairs.latents[rows], pairs.encode(texts)
