"""Precision: a student in float32 inside a pipeline of half precision takes what its teacher took.

>>> network = nn.Linear(2, 2)
>>> answer_as_asked(network, torch.bfloat16)
>>> network(torch.ones(1, 2, dtype=torch.bfloat16)).dtype
torch.bfloat16
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from condistill.teacher.shadowing import shadowed

_AROUND = "_precision_around"  # of the pipeline: what the network is asked in


def answer_as_asked(network: nn.Module, around: torch.dtype) -> None:
    """From now on the network takes numbers of any precision, and answers in that of its input.

    A student's weights are in float32, as training needs it; the pipeline that it shares with its teacher may not be.

    Args:
        around: the pipeline's precision; see `as_around`.
    """
    asked: list[torch.dtype] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        own = next(module.parameters()).dtype
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor) and one.is_floating_point()]
        # a time has fewer axes than x_t, and is in float32 in places where x_t is not
        asked[:] = [max(given, key=lambda one: one.ndim).dtype] if given else []
        return _cast(args, own), _cast(kwargs, own)

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        return _cast(output, asked[0]) if asked else output

    network.register_forward_pre_hook(before, with_kwargs=True)
    network.register_forward_hook(after, with_kwargs=True)
    vars(network)[_AROUND] = around


def answers_as_asked(network: nn.Module) -> bool:
    """Whether the network casts what it is given, so that its own forward sees copies."""
    return _AROUND in vars(network)


@contextmanager
def as_around(network: nn.Module) -> Iterator[None]:
    """Inside, a network that answers as asked says that it has the precision of the pipeline around it.

    Some pipelines make x_t in the precision that their denoiser says is its own, and give it to an autoencoder that has
    another. Its own forward still sees the precision of its weights.
    """
    around, own = vars(network).get(_AROUND), inspect.getattr_static(type(network), "dtype", None)
    if around is None or not isinstance(own, property):
        yield
        return
    running: list[bool] = []

    def dtype(self: Any) -> Any:
        return around if self is network and not running else own.__get__(self)

    def before(*_: Any) -> None:
        running.append(True)

    def after(*_: Any) -> None:
        running.clear()

    with (
        shadowed(type(network), "dtype", property(dtype)),
        network.register_forward_pre_hook(before),
        network.register_forward_hook(after),
    ):
        yield


def _cast(values: Any, dtype: torch.dtype) -> Any:
    return tree_map_only(Tensor, lambda one: one.to(dtype) if one.is_floating_point() else one, values)
