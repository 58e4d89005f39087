"""A network's tensors with its adapters (LoRA) merged into them: what a student without adapters inherits.

>>> network = nn.Linear(2, 2)
>>> torch.equal(plain_state(network)["weight"], network.weight)
True
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The network's state under the names that it has without adapters; those that are active are merged."""
    # peft puts layers of its own around the network's; they say so by this attribute
    layers = {path: part for path, part in network.named_modules() if hasattr(part, "base_layer")}
    inside = tuple(f"{path}." for path in layers)
    state = {name: value for name, value in network.state_dict().items() if not inside or not name.startswith(inside)}
    for path, layer in layers.items():
        state |= {f"{path}.{name}": value for name, value in _merged(layer).state_dict().items()}
    return state


def _merged(layer: Any) -> nn.Module:
    if layer.merged or layer.disable_adapters:
        return layer.get_base_layer()
    own = copy.deepcopy(layer)
    own.merge()
    return own.get_base_layer()
