"""A network's tensors with its adapters (LoRA) merged into them: what a student without adapters inherits.

>>> network = nn.Linear(2, 2)
>>> torch.equal(plain_state(network)["weight"], network.weight)
True
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn


def adapted(network: nn.Module) -> dict[str, Any]:
    """Path -> the layer that peft put around the network's own; it says so by this attribute."""
    return {path: part for path, part in network.named_modules() if hasattr(part, "base_layer")}


@torch.no_grad()
def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The network's state under the names that it has without adapters; those that are active are merged."""
    layers = adapted(network)
    inside = tuple(f"{path}." for path in layers)
    state = {name: value for name, value in network.state_dict().items() if not inside or not name.startswith(inside)}
    for path, layer in layers.items():
        state |= {f"{path}.{name}": value for name, value in _merged(layer).state_dict().items()}
    return state


@torch.no_grad()
def without_adapters(network: Any) -> Any:
    """A copy of the network with its adapters merged and gone; the network itself if it has none."""
    if not adapted(network):
        return network
    own = copy.deepcopy(network)
    for path, layer in adapted(own).items():
        parent, _, name = path.rpartition(".")
        setattr(own.get_submodule(parent), name, _merged(layer))
    # diffusers and transformers look here for adapters to save
    own._hf_peft_config_loaded = False
    vars(own).pop("peft_config", None)
    return own


@contextmanager
def as_called(network: nn.Module, arguments: Mapping[str, Any] | None) -> Iterator[None]:
    """Adapters weigh inside the block what they weigh in a call with these arguments: `scale` among them, say."""
    layers = adapted(network)
    before = {path: dict(layer.scaling) for path, layer in layers.items() if hasattr(layer, "scaling")}
    seen = _scaling_in_call(network, before, arguments) if before and arguments is not None else {}
    for path, scaling in seen.items():
        layers[path].scaling = dict(scaling)
    try:
        yield
    finally:
        for path in seen:
            layers[path].scaling = before[path]


class _Seen(BaseException):
    """Leaves a forward pass at its first adapter."""


def _scaling_in_call(
    network: nn.Module, before: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    layers, seen = adapted(network), {}

    def note(*_: Any) -> None:
        seen.update({path: dict(layers[path].scaling) for path in before})
        raise _Seen

    hooks = [layers[path].register_forward_pre_hook(note) for path in before]
    try:
        with suppress(_Seen), torch.no_grad():
            network(**arguments)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _merged(layer: Any) -> nn.Module:
    if layer.merged or layer.disable_adapters:
        return layer.get_base_layer()
    own = copy.deepcopy(layer)
    own.merge()
    return own.get_base_layer()
