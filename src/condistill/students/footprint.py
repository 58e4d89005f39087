"""The memory that training takes per sample, counted on the meta device: no weights, no memory for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map_only

from condistill.students.likely import inputs_of
from condistill.students.meta import on_meta
from condistill.students.passes import meta_inputs
from condistill.students.shape_mode import NO_PASS, shapes_only
from condistill.students.taps import TapPair


@dataclass(frozen=True)
class Footprint:
    """Bytes for one sample in float32.

    Attributes:
        kept: what the forward pass keeps for the backward pass.
        redone: with gradient checkpointing, the largest part that is computed again, on top; else 0.
        features: what the feature loss compares, of one network.
    """

    kept: int
    redone: int
    features: int

    @property
    def total(self) -> int:
        """The peak of one sample, with the features of teacher and student."""
        return self.kept + self.redone + 2 * self.features


def footprint(
    cls: type,
    config: Mapping[str, Any],
    *,
    inputs: Mapping[str, Any] | None = None,
    taps: tuple[TapPair, ...] = (),
    checkpointing: bool = False,
) -> Footprint | None:
    """What one sample of training keeps; None where the class's arguments are not known or shapes do not suffice.

    Attention counts as the fused kernels that keep no matrix of all pairs.

    Args:
        inputs: the network's keyword arguments for one item, on any device; those known for the class if None.
        taps: what the feature loss compares.
        checkpointing: whether the network recomputes its activations.

    >>> from condistill.students import load_config
    >>> found = footprint(*load_config("sd-v1-4"))
    >>> found.redone, 1.5e9 < found.kept < 2.5e9
    (0, True)
    """
    network = on_meta(cls, config)
    inputs = inputs_of(network) if inputs is None else meta_inputs(network, inputs)
    if inputs is None:
        return None
    counter = _Counter(network)
    if checkpointing:
        network.enable_gradient_checkpointing(counter.checkpointed)  # type: ignore[operator]
        network.train()  # diffusers checkpoints nothing in evaluation mode
    sizes: dict[str, int] = {}
    handles = [network.get_submodule(_path(tap)).register_forward_hook(_size(sizes, tap.student)) for tap in taps]
    try:
        with shapes_only(), patch.object(functional, "scaled_dot_product_attention", _fused), counter:
            network(**tree_map_only(Tensor, lambda one: one.detach(), inputs))
    except NO_PASS:
        return None
    finally:
        for handle in handles:
            handle.remove()
    return Footprint(counter.kept, counter.largest, sum(sizes.values()))


def _path(tap: TapPair) -> str:
    return tap.student.partition(":")[0]


def _size(found: dict[str, int], name: str) -> Callable[..., None]:
    place = int(name.partition(":")[2] or 0)

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        given = [one for one in tree_leaves(output) if isinstance(one, Tensor)]
        if given:
            found[name] = _bytes(given[min(place, len(given) - 1)])

    return hook


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * (4 if tensor.is_floating_point() else tensor.element_size())


class _Counter:
    """Counts every tensor once that autograd keeps, parameters aside."""

    def __init__(self, network: nn.Module):
        self.kept, self.largest = 0, 0
        # an id means something only while its tensor is there
        self._alive: list[Tensor] = []
        self._seen = {id(p) for p in network.parameters()}
        self._hooks = saved_tensors_hooks(self._pack, lambda packed: packed)

    def __enter__(self) -> _Counter:
        self._hooks.__enter__()
        return self

    def __exit__(self, *about: Any) -> None:
        self._hooks.__exit__(*about)

    def _pack(self, tensor: Tensor) -> Tensor:
        self._count(tensor)
        return tensor

    def _count(self, tensor: Tensor) -> None:
        whole = tensor if tensor._base is None else tensor._base  # views share what they keep
        if id(whole) not in self._seen:
            self._seen.add(id(whole))
            self._alive.append(whole)
            self.kept += _bytes(whole)

    def checkpointed(self, module: Any, *args: Any) -> Any:
        """The module's output; only its arguments are kept, and what is computed again is remembered."""
        for one in tree_leaves(args):
            if isinstance(one, Tensor):
                self._count(one)
        before = self.kept
        output = module(*args)
        inside, self.kept = self.kept - before, before
        self.largest = max(self.largest, inside)
        return output


class _Fused(torch.autograd.Function):
    """Attention by its shape; keeps what a fused kernel keeps: query, key, value and output."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None, None


def _fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return _Fused.apply(query, key, value)  # type: ignore[return-value]
