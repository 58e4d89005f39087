"""Blanks: zeros to answer with in the place of a denoiser, and copies of what it is given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def kept(value: Any) -> Any:
    """The value with containers of its own: networks empty the lists that they are given. Tensors are the same."""
    if isinstance(value, Mapping):
        return {name: kept(one) for name, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(kept(one) for one in value)
    return value


def filled_with(output: Any, value: float) -> Any:
    """`output` with every number in its tensors replaced by `value`, its containers kept."""
    if isinstance(output, Tensor):
        return torch.full_like(output, value)
    if isinstance(output, tuple | list):
        return type(output)(filled_with(part, value) for part in output)
    if type(output) is dict:
        return {name: filled_with(part, value) for name, part in output.items()}
    if isinstance(output, Mapping):
        return type(output)(**{name: filled_with(part, value) for name, part in output.items()})
    return output


def likely_answer(network: nn.Module, arguments: Mapping[str, Any]) -> Any:
    """Zeros in the shape that the denoiser most likely answers in: its input's, with its own number of channels.

    None if no argument looks like an input. A pipeline that does not like it raises, and the network is asked instead.
    """
    from diffusers.models.modeling_outputs import Transformer2DModelOutput

    config = dict(getattr(network, "config", {}))
    taken, given = config.get("in_channels"), config.get("out_channels")

    def blank(x: Tensor) -> Tensor:
        shape = list(x.shape)
        axis = next((k for k, size in enumerate(shape) if size == taken and k > 0), None)
        if given and axis is not None:
            shape[axis] = given
        return x.new_zeros(shape)

    for value in arguments.values():
        zeros: Any = None
        if isinstance(value, list) and value and all(isinstance(one, Tensor) for one in value):
            zeros = [blank(one) for one in value]
        elif isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 3:
            zeros = blank(value)
        if zeros is not None and "return_dict" not in inspect.signature(type(network).forward).parameters:
            return zeros
        if zeros is not None:
            return (zeros,) if arguments.get("return_dict") is False else Transformer2DModelOutput(sample=zeros)
    return None
