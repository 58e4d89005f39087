"""Precision: a student in float32 inside a pipeline of half precision takes what its teacher took.

>>> network = nn.Linear(2, 2)
>>> answer_as_asked(network)
>>> network(torch.ones(1, 2, dtype=torch.bfloat16)).dtype
torch.bfloat16
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only


def answer_as_asked(network: nn.Module) -> None:
    """From now on the network takes numbers of any precision, and answers in that of its input.

    A student's weights are in float32, as training needs it; the pipeline that it shares with its teacher may not be.
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


def _cast(values: Any, dtype: torch.dtype) -> Any:
    return tree_map_only(Tensor, lambda one: one.to(dtype) if one.is_floating_point() else one, values)
