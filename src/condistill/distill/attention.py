"""Which kernel of attention a student trains with, where torch's own choice is a slow one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

MAX_NUMBERS = 4096  # of one x_t; the plain kernel holds every token's weight for every other one


def small_attention(network: nn.Module, x_t: Float[Tensor, "b *latent"]) -> AbstractContextManager[Any]:
    """A context that computes attention by plain products where that trains faster: small inputs, a CPU, autocast.

    Backwards torch's flash kernel for CPUs takes half of the whole step in bfloat16 (torch 2.13; docs/log.md, "bf16 on
    a CPU"). Where gradient checkpointing computes attention again, outside of this context, nothing is changed.

    Args:
        network: that will be run inside.
        x_t: (b, *latent) that it is run on.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    is_small = x_t.device.type == "cpu" and x_t[0].numel() <= MAX_NUMBERS
    if is_small and torch.is_autocast_enabled("cpu") and not getattr(network, "is_gradient_checkpointing", False):
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()
