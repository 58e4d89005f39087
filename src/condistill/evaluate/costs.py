"""What a model costs: parameters, multiply-accumulates of one pass, seconds for one image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from condistill.maths.randomise import Key

if TYPE_CHECKING:
    from condistill.teacher import Teacher

NUM_TIMED = 3
# FlopCounterMode counts two operations per multiply-accumulate
_CONV_LINEAR = ("convolution", "convolution_backward", "_convolution", "addmm", "mm", "linear")


def parameters(model: Teacher) -> int:
    """The number of parameters of the denoiser."""
    return sum(parameter.numel() for parameter in model.network.parameters())


@torch.no_grad()
def macs(model: Teacher, key: Key) -> dict[str, int]:
    """Multiply-accumulates of one pass of the denoiser for one item, counted on a real pass.

    "conv_linear" is the convention of the papers: convolutions and linear layers. "total" counts the products inside
    attention as well.
    """
    model.network.eval()
    condition = model.encode([key])
    x_t = torch.zeros(1, *model.latent_shape, device=model.device)
    t = model.noise_path.times(torch.tensor([0.5])).to(model.device)
    counter = FlopCounterMode(display=False)
    # attention as plain matrix products: the fused kernels of some devices are not known to the counter
    with counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model.predict(x_t, t, condition)
    by_operator = {str(op).rpartition(".")[2]: flops for op, flops in counter.get_flop_counts()["Global"].items()}
    conv_linear = sum(flops for name, flops in by_operator.items() if name in _CONV_LINEAR)
    return {"conv_linear": conv_linear // 2, "total": sum(by_operator.values()) // 2}


@torch.no_grad()
def latency_seconds(model: Teacher, key: Key, call: Mapping[str, Any]) -> float:
    """Seconds for one image through the whole pipeline at batch 1: the median of three after one that is not timed."""
    taken = []
    for _ in range(NUM_TIMED + 1):
        start = time.perf_counter()
        model.sample([key], seed=[0], call=call, output="both")  # the images reach the CPU, so the device has finished
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])
