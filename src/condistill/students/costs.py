"""Parameters and multiply-accumulates of a config, counted on the meta device: no weights, no memory for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from condistill.students.meta import on_meta
from condistill.students.passes import one_pass


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


def macs_by_module(
    network: nn.Module,
    *,
    latent: Sequence[int] | None = None,
    tokens: int = 77,
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, int]] | None:
    """Module path -> {"conv_linear", "total"} of a network on the meta device; "" is the network itself."""
    found = one_pass(network, inputs, latent=latent, tokens=tokens)
    return found.macs if found else None
