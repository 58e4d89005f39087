"""In which precision a student's attention is computed, where torch's own choice trains slowly."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

GIVEN = ("query", "key", "value", "attn_mask")


def exact_attention(network: nn.Module, x_t: Float[Tensor, "b *latent"]) -> AbstractContextManager[Any]:
    """A context in which attention is computed in float32 where that trains faster: on a CPU under autocast.

    Backwards torch's kernel for CPUs takes half of the whole step in bfloat16, and a fifth of that in float32 (torch
    2.13; docs/log.md, "bf16 on a CPU, again"). Where gradient checkpointing computes attention again, outside of this
    context, nothing is changed.

    Args:
        network: that will be run inside.
        x_t: (b, *latent) that it is run on.
    """
    if x_t.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return nullcontext() if getattr(network, "is_gradient_checkpointing", False) else Float32Attention()
    return nullcontext()


class Float32Attention(TorchFunctionMode):
    """Inside the context torch's attention is computed in float32 and answers in the precision that it was asked in."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func is not scaled_dot_product_attention:
            return func(*args, **named)
        named |= dict(zip((*GIVEN, "dropout_p", "is_causal"), args, strict=False))
        asked = named["query"].dtype
        given = {name: _float32(named[name]) for name in GIVEN if name in named}
        with torch.autocast("cpu", enabled=False):
            return func(**{**named, **given}).to(asked)


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
