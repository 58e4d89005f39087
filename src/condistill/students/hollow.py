"""Hollow pipelines: every network is made from its config alone and has no weights; all the rest is the real thing.

A hollow network runs on shapes and answers with numbers made up from what it is given, the same for the same input, so
that its pipeline is recorded by the rules that hold for a real one: what depends on the key is seen to.

Outside of any network all tensors have values. A weight that a pipeline reads by itself is ones.
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only

from condistill.students.shape_mode import ValuesWhereKnown, shapes_only
from condistill.teacher.running import networks

CPU = torch.device("cpu")
_inside: list[Any] = []  # the networks, or their parts, that are running
_last: list[Tensor] = []  # what was given to the one that ran last


def hollow_pipeline(folder: str | Path) -> Any:
    """The pipeline in a folder of configs; weights are not read. It is called inside `hollow()`."""
    from diffusers import DiffusionPipeline, ModelMixin
    from diffusers.utils import logging
    from transformers import PreTrainedModel

    made = classmethod(_from_config)
    logging.disable_progress_bar()
    try:
        with patch.object(ModelMixin, "from_pretrained", made), patch.object(PreTrainedModel, "from_pretrained", made):
            pipeline = DiffusionPipeline.from_pretrained(str(folder))
    finally:
        logging.enable_progress_bar()
    for network in networks(pipeline).values():  # also those that hold several others
        network.__class__ = _hollow_class(type(network))
    return pipeline


def plain_class(network: nn.Module) -> type:
    """The class that the network would be of with weights."""
    return next(cls for cls in type(network).__mro__ if not vars(cls).get("is_hollow", False))


def _from_config(
    cls: Any, folder: str | Path, *_: Any, config: Any = None, subfolder: str = "", **__: Any
) -> nn.Module:
    """The network of a class of diffusers or transformers, in the place of its `from_pretrained`."""
    place = str(Path(folder, subfolder or ""))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(cls, "from_config"):
            network = cls.from_config(cls.load_config(place))
        else:
            network = cls(config or cls.config_class.from_pretrained(place))
    network.__class__ = _hollow_class(cls)
    # some buffers are made through numpy, whatever the device
    return network.to("meta").eval()


@functools.cache
def _hollow_class(cls: type) -> type:
    """The class with networks that say they are on the CPU and answer with made-up numbers."""
    if vars(cls).get("is_hollow", False):
        return cls
    real: Any = cls.forward  # type: ignore[attr-defined]

    @functools.wraps(real)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return _answer(functools.partial(_run_once, self, real), args, kwargs)

    own = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls.__name__, (cls,), {**own, "is_hollow": True, "forward": forward, "device": property(lambda _: CPU)})


@contextmanager
def hollow() -> Iterator[None]:
    """Inside, hollow networks and their parts answer whatever calls them."""
    real = nn.Module.__call__

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if _inside:
            return real(self, *args, **kwargs)
        return _answer(functools.partial(real, self), args, kwargs)

    with shapes_only(_Hollow()), patch.object(nn.Module, "__call__", call):
        yield


class _Hollow(ValuesWhereKnown):
    """Shapes inside a network, values outside of it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        to = str(kwargs.get("device"))
        if not _inside:
            args, kwargs = tree_map_only(Tensor, _filled, (args, kwargs))
            return func(*args, **{**kwargs, "device": CPU} if to == "meta" else kwargs)
        name = str(func.overloadpacket)
        if name == "aten._local_scalar_dense" and args[0].is_meta:
            return False if args[0].dtype == torch.bool else 0
        if name == "aten._to_copy" and args[0].is_meta and to == "cpu":
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return super().__torch_dispatch__(func, types, args, kwargs)


def _filled(one: Tensor) -> Tensor:
    """What has no numbers outside of a network: a weight, which is ones, or what a hook kept of the inside of one."""
    if not one.is_meta:
        return one
    if one.requires_grad or one.ndim < 3:
        return torch.ones((), dtype=one.dtype).expand(one.shape)
    return _numbers(one, _last)


def _answer(run: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    _inside.append(run)
    try:
        output = run(*args, **kwargs)
    finally:
        _inside.pop()
    given = [one for one in _tensors((args, dict(kwargs))) if not one.is_meta]
    if not _inside:
        _last[:] = given
    return tree_map_only(Tensor, lambda one: _numbers(one, given) if one.is_meta else one, output)


def _run_once(network: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the network gives out, in shapes; it is run once for every kind of input."""
    question = _question(args, kwargs)
    if question is None or any(one._forward_hooks for one in network.modules() if one is not network):
        return forward(network, *args, **kwargs)
    known = vars(network).setdefault("_shapes_known", {})
    if question in known:
        return known[question]
    output = forward(network, *args, **kwargs)
    if all(one.is_meta for one in _tensors(output)):
        known[question] = output
    return output


def _question(args: Any, kwargs: Mapping[str, Any]) -> Any:
    """All that the shapes of an answer depend on; None where what is given is more than numbers."""
    leaves, structure = tree_flatten((args, dict(kwargs)))
    found: list[Any] = [str(structure)]
    for one in leaves:
        if isinstance(one, Tensor):
            values = b"" if one.is_meta or one.is_floating_point() else _bytes(one)
            found.append((tuple(one.shape), str(one.dtype), one.is_meta, values))
        elif one is None or isinstance(one, bool | int | float | str | torch.dtype | torch.device):
            found.append((type(one).__name__, one))
        else:
            return None
    return tuple(found)


def _tensors(value: Any) -> list[Tensor]:
    return [one for one in tree_leaves(value) if isinstance(one, Tensor)]


def _numbers(like: Tensor, given: list[Tensor]) -> Tensor:
    """Numbers in the shape of `like`: each row from the rows that were given in its place, padding aside.

    They vary along the last axis alone, so that a short row is the beginning of the same row padded.
    """
    shape = tuple(like.shape)
    if not like.is_floating_point() or not shape:
        return torch.zeros(shape, dtype=like.dtype)
    rows = [one for one in given if one.ndim and len(one) == shape[0]]
    if not rows:
        return _drawn(shape[-1], given).to(like.dtype).expand(shape).clone()
    whole = [one for one in rows if not one.is_floating_point()]
    masks = [one for one in whole if one.ndim == 2 and bool((one <= 1).all())]
    lengths = [one for one in whole if one.ndim == 1]
    drawn = torch.stack([_drawn(shape[-1], [_row(one, masks, lengths, k) for one in rows]) for k in range(shape[0])])
    drawn = drawn[:, 0] if len(shape) == 1 else drawn.reshape(shape[0], *[1] * (len(shape) - 2), -1)
    return drawn.to(like.dtype).expand(shape).clone(memory_format=torch.contiguous_format)


def _row(one: Tensor, masks: list[Tensor], lengths: list[Tensor], k: int) -> Tensor:
    """Row k of what was given without its padding: what a mask hides, or what lies beyond a length."""
    mask = next((mask for mask in masks if mask.shape == one.shape[:2]), None)
    if mask is not None:
        return one[k][mask[k].bool()]
    ends = [int(each[k]) for each in lengths if one.ndim == 3 and 1 < int(each[k]) < one.shape[1]]  # 1 is a time
    return one[k][: min(ends)] if ends else one[k]


def _bytes(one: Tensor) -> bytes:
    one = one.detach()
    return (one.float() if one.is_floating_point() else one.long()).contiguous().numpy().tobytes()


def _drawn(size: int, given: list[Tensor]) -> Tensor:
    digest = hashlib.sha256(b"|".join(map(_bytes, given))).digest()
    return torch.randn(size, generator=torch.Generator().manual_seed(int.from_bytes(digest[:7], "little")))
