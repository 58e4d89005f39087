"""Parameters and multiply-accumulates of a config, counted on the meta device: no weights, no memory for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from condistill.students.meta import inputs_of, on_meta

# names of the operators that the papers' convention counts: convolutions and linear layers
_CONV_LINEAR = ("convolution", "_convolution", "addmm", "mm", "linear")


def count_parameters(cls: type, config: Mapping[str, Any]) -> int:
    """The number of parameters of the network.

    >>> from condistill.students import load_config
    >>> count_parameters(*load_config("sd-v1-4"))
    859520964
    """
    return sum(parameter.numel() for parameter in on_meta(cls, config).parameters())


def count_macs(
    cls: type,
    config: Mapping[str, Any],
    *,
    latent: Sequence[int] | None = None,
    tokens: int = 77,
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, int] | None:
    """Multiply-accumulates of one pass for one item; None where the class's arguments are not known here.

    "conv_linear" is the convention of the papers: convolutions and linear layers. "total" counts the products inside
    attention as well.

    Args:
        latent: (height, width) in latent pixels; the config's sample size if None.
        tokens: length of the text.
        inputs: the arguments of the pass, for classes whose arguments are not known here.
    """
    by_module = macs_by_module(on_meta(cls, config), latent=latent, tokens=tokens, inputs=inputs)
    return by_module[""] if by_module else None


@torch.no_grad()
def macs_by_module(
    network: nn.Module,
    *,
    latent: Sequence[int] | None = None,
    tokens: int = 77,
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, int]] | None:
    """Module path -> {"conv_linear", "total"} of a network on the meta device; "" is the network itself."""
    inputs = inputs_of(network, latent, tokens) if inputs is None else inputs
    if inputs is None:
        return None
    counter = FlopCounterMode(display=False)
    try:
        # attention as plain matrix products: the counter does not know every fused kernel
        with counter, sdpa_kernel(SDPBackend.MATH):
            network(**inputs)
    except (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError):
        return None
    root = type(network).__name__
    found = {}
    for name, by_operator in counter.get_flop_counts().items():
        path = "" if name == "Global" else name.removeprefix(root).lstrip(".")
        if name == root:
            continue
        flops = {str(operator).rpartition(".")[2]: count for operator, count in by_operator.items()}
        # the counter counts two operations per multiply-accumulate
        found[path] = {
            "conv_linear": sum(count for operator, count in flops.items() if operator in _CONV_LINEAR) // 2,
            "total": sum(flops.values()) // 2,
        }
    return found
