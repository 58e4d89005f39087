"""How attention is computed where torch's own choice trains slowly: on a CPU in bfloat16."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

GIVEN = ("query", "key", "value", "attn_mask")
ORDER = (*GIVEN, "dropout_p", "is_causal")
# more keys than this and the weights, which products keep, take much more memory than the layer's other activations
FEW_KEYS = 256


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
        named |= dict(zip(ORDER, args, strict=False))
        given = {name: _float32(named[name]) for name in GIVEN if name in named}
        with torch.autocast("cpu", enabled=False):
            return func(**{**named, **given}).to(named["query"].dtype)


class CompiledAttention(TorchFunctionMode):
    """Inside the context attention of few keys is computed by products and a softmax, on a CPU in bfloat16.

    That is faster than any of torch's kernels, forwards and backwards, but only in compiled code, where the softmax is
    fused with what is beside it (docs/log.md, "Attention in compiled code").
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func is not scaled_dot_product_attention:
            return func(*args, **named)
        named |= dict(zip(ORDER, args, strict=False))
        return _by_products(named) if _is_plain(named) else func(**named)


def _is_plain(named: Mapping[str, Any]) -> bool:
    """Whether softmax(q k^T) v of few keys is asked for and nothing else, in a precision in which products are fast."""
    query, key = named["query"], named["key"]
    more = named.get("attn_mask") is not None or any(named.get(n) for n in ("dropout_p", "is_causal", "enable_gqa"))
    return (
        not more
        and query.shape[:-2] == key.shape[:-2]
        and key.shape[-2] <= FEW_KEYS
        and key.dtype == torch.bfloat16
        and key.device.type == "cpu"
    )


def _by_products(named: Mapping[str, Any]) -> Tensor:
    """softmax(scale q k^T) v: the scores and weights in the precision of q, the softmax in float32."""
    q, k, v = (named[name] for name in ("query", "key", "value"))
    scale = named.get("scale")
    scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(-1, -2)
    return scores.float().softmax(-1).to(v.dtype) @ v


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
