"""Taps: the outputs of named modules during one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def taps(network: nn.Module, names: Sequence[str], *, need_gradient: bool = False) -> Iterator[dict[str, Tensor]]:
    """Yields a dict that fills with the output of each named module while the block runs the network.

    Hooks sit on the module objects, so wrapping the network (DDP, compilation) does not change their names; none is
    left behind, also after an error. Of a tuple the first element is kept, for a U-Net block returns (hidden, skips),
    or the one that the name says: "transformer_blocks.3:1" is the second, the picture of a two-stream block.

    Args:
        network: the module that `names` are paths in ("down_blocks.0", "mid_block").
        names: the modules to tap, each with the number of an element or without.
        need_gradient: refuse features without gradient. Re-entrant gradient checkpointing runs the hooked modules
            without one, and a loss on such features trains nothing.

    Raises:
        ValueError: no module of that name; a tapped module did not run; a feature without gradient.
    """
    features: dict[str, Tensor] = {}
    modules = {name: _module(network, name) for name in names}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            # a recomputation in the backward pass must not replace the features of the forward pass
            element = int(name.rpartition(":")[2]) if ":" in name else 0
            features.setdefault(name, first_tensor(output[element] if element else output))

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()
    for name in names:
        if name not in features:
            raise ValueError(f"the tapped module {name!r} was not run in this pass")
        if need_gradient and torch.is_grad_enabled() and not features[name].requires_grad:
            raise ValueError(
                f"the student's feature {name!r} carries no gradient, so its loss would train nothing; "
                "use non-re-entrant gradient checkpointing, or drop this tap"
            )


def _module(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name.partition(":")[0])
    except AttributeError:
        raise ValueError(f"no module {name!r} to tap in {type(network).__name__}") from None


def answer_of(output: Any) -> Tensor | tuple[Tensor, ...]:
    """What a denoiser answers: a tensor, or the tensors of a tuple or output object that has several (sound beside a
    video)."""
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple) else ()
    found = tuple(part for part in parts if isinstance(part, Tensor))
    return found if len(found) > 1 else first_tensor(output)


def first_tensor(output: Any) -> Tensor:
    """The tensor of a module's output: itself, the first of a tuple, the first field of an output object.

    A list holds one tensor per item, as some denoisers answer; it is stacked.
    """
    while not isinstance(output, Tensor):
        if type(output) is list and output and all(isinstance(one, Tensor) for one in output):
            return torch.stack(output)
        output = output[0]
    return output
