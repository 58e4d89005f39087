"""What a model costs: parameters, multiply-accumulates of one pass, seconds for one image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from condistill.maths.randomise import Key
from condistill.stopwatch import median_seconds
from condistill.students.costs import macs_by_module

if TYPE_CHECKING:
    from condistill.teacher import Teacher

NUM_TIMED = 3


def parameters(model: Teacher) -> int:
    """The number of parameters of the denoiser."""
    return sum(parameter.numel() for parameter in model.network.parameters())


@torch.no_grad()
def macs(model: Teacher, key: Key) -> dict[str, int] | None:
    """Multiply-accumulates of one pass of the denoiser for one item, counted on a real pass; None where that fails.

    "conv_linear" is the convention of the papers: convolutions and linear layers. "total" counts the products inside
    attention as well.
    """
    model.network.eval()
    x_t = torch.zeros(1, *model.latent_shape, device=model.device)
    t = model.noise_path.times(torch.tensor([0.5])).to(model.device)
    by_module = macs_by_module(model.network, inputs=model.arguments(x_t, t, model.encode([key])))
    return by_module[""] if by_module else None


@torch.no_grad()
def latency_seconds(model: Teacher, key: Key, call: Mapping[str, Any]) -> float:
    """Seconds for one image through the whole pipeline at batch 1: the median of three after one that is not timed."""
    # the images reach the CPU, so the device has finished
    return median_seconds(lambda: model.sample([key], seed=[0], call=call, output="both"), repeats=NUM_TIMED)
