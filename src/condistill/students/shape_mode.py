"""The mode in which a network on the meta device runs: shapes where there are no values, values where there are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

# what a network that cannot be run on shapes alone raises
NO_PASS = (
    RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError,
    NotImplementedError,
)  # fmt: skip


@contextmanager
def shapes_only(mode: TorchDispatchMode | None = None) -> Iterator[None]:
    """Inside, a network on the meta device runs on `meta_inputs`; `mode` may say more than `ValuesWhereKnown`."""
    # attention as plain matrix products: the counter of operations does not know every fused kernel
    plain, quiet = sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings()
    with plain, quiet, patch.object(torch, "autocast", _Autocast), mode or ValuesWhereKnown():
        warnings.simplefilter("ignore")
        yield


class _Autocast(torch.autocast):
    """torch.autocast, which refuses tensors without memory: some networks switch it off around their rotary axes."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any):
        super().__init__("cpu" if device_type == "meta" else device_type, *args, **kwargs)


class ValuesWhereKnown(TorchDispatchMode):
    """Computes where all values are there, and goes on with shapes where some are not.

    Counts that a network reads from its masks and positions are numbers then, while its activations have no values.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        with_values = [not one.is_meta for one in tensors]
        name = str(func.overloadpacket)
        if all(with_values) and str(kwargs.get("device")) == "meta":
            if name == "aten._to_copy" and not args[0].is_floating_point():
                kwargs["device"] = torch.device("cpu")
        elif any(with_values) and not all(with_values):
            if name.startswith("aten.index") and len(args) > 1 and isinstance(args[1], list | tuple):
                args = (args[0], _positions(args[1]), *args[2:])
            args, kwargs = tree_map_only(Tensor, lambda one: one.to("meta"), (args, kwargs))
        return func(*args, **kwargs)


def _positions(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The indices with every mask written as the positions that it selects."""
    found: list[Tensor | None] = []
    for one in indices:
        is_mask = one is not None and one.dtype == torch.bool and not one.is_meta
        found += list(one.nonzero(as_tuple=True)) if is_mask else [one]  # type: ignore[union-attr]
    return found
