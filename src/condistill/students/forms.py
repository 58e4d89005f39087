"""What an argument of a network may be given as, by its name and annotation: the likeliest form first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter
from math import prod
from typing import Any

import torch
from torch import Tensor

from condistill.students.asking import Widths
from condistill.students.room import CHANNELS, Layout, Room

OMITTED = object()  # in the place of a form: the argument is not given
_TEXT = ("hidden_states", "text", "cap_feats", "embed", "projection", "pooled", "clip", "prompt", "words", "context")
_POOLED = ("pooled", "projection", "embeds", "embedding", "global")
_PIXELS = ("latent", "cond", "image", "pixel", "effnet", "control", "pose", "face", "visual", "pictures")
_COUNTS = ("num_frames", "height", "width")

Form = Callable[[Widths], Any]


def x_t(parameter: Parameter, layout: Layout, widths: Widths) -> Any:
    """x_t in a layout: a tensor, or the item of a list where the network takes one for each item."""
    shape = _like(layout, CHANNELS, widths)
    if "list" in str(parameter.annotation).lower():
        return [_zeros(shape[1], 1, *shape[2:]) if len(shape) == 4 else _zeros(*shape[1:])]
    return _zeros(*shape)


def forms(parameter: Parameter, room: Room, layout: Layout) -> list[Any]:
    """What an argument may be given as: functions of widths, and `OMITTED` where it has a default."""
    found: list[Any] = list(_forms(parameter.name, str(parameter.annotation).lower(), room, layout))
    if parameter.default is Parameter.empty:
        return found
    return [*found, OMITTED] if parameter.default is None and is_wanted(parameter.name) else [OMITTED, *found]


def is_wanted(name: str) -> bool:
    """Whether an argument that may be left out is given all the same."""
    if any(part in name for part in (*_PIXELS, "mask", "residual", "rotary", "kwargs", "cache", "history", "clean")):
        return name.startswith("encoder_hidden_states") or name in ("clip_img",)
    is_first_time = name.rstrip("s") in ("timestep", "time", "t", "noise_level")
    return is_first_time or name.endswith(("_ids", *_COUNTS)) or any(part in name for part in _TEXT)


def is_time(name: str) -> bool:
    """Whether an argument of this name is a time or a noise level."""
    return ("time" in name and "cond" not in name) or name in ("t", "sigma", "r", "noise_level")


def kind(parameter: Parameter) -> str:
    """What is chosen together: the times that are given from the start, and the masks of texts that may be left out."""
    if parameter.default is None and "mask" in parameter.name and re.search("text|encoder", parameter.name):
        return "masks"
    is_given = parameter.default is Parameter.empty or is_wanted(parameter.name)
    return "time" if is_given and _is_level(parameter.name) else parameter.name


def _is_level(name: str) -> bool:
    return is_time(name) and "ids" not in name and "emb" not in name


def _forms(name: str, annotation: str, room: Room, layout: Layout) -> Iterator[Form]:
    text, grid = room.text(name), room.grid
    own = prod(grid[5 - len(layout) :] if len(layout) > 3 else [one for one in layout if isinstance(one, int)])
    if "dict" in annotation or name.endswith("_kwargs"):
        if "attention" not in name:
            yield lambda widths: Asked(name, widths)
            yield lambda _: {"resolution": _zeros(1, 2), "aspect_ratio": _zeros(1, 1)}
        yield lambda _: {}
    elif name.endswith(_COUNTS):
        sizes = {"num_frames": room.frames, "height": room.height, "width": room.width}
        yield lambda _: sizes.get(name, text)
    elif "mask" in name or "drop" in name:
        yield from _masks(name, text, own, layout)
    elif name.endswith(("lens", "length", "lengths")):
        yield lambda _: torch.tensor([text])
    elif "shape" in name or "sizes" in name:
        yield lambda _: [[grid if len(layout) > 3 else (1, room.height, room.width)]]
        yield lambda _: [grid if len(layout) > 3 else (1, room.height, room.width)]
        yield lambda _: {}
    elif _is_level(name):
        yield lambda _: _zeros(1)
        yield lambda _: _zeros(1, room.frames)
    elif "rope" in name or "rotary" in name:
        yield from _turns(name, text, own, grid)
    elif "_id" in name or name.endswith("ids"):
        yield from _places(name, text, own, room.axes)
    elif name.endswith(("_size", "_coords")):
        yield from [lambda _: _zeros(1, 2), lambda _: _zeros(1, 6)]
    elif "label" in name or name in ("style", "fps", "guidance", "ofs"):
        yield from [lambda _: torch.zeros(1, dtype=torch.long), lambda _: _zeros(1), lambda w: _zeros(1, w(name))]
        yield lambda _: 1
    else:
        yield from _features(name, annotation, room, layout, text, own)


def _masks(name: str, text: int, own: int, layout: Layout) -> Iterator[Form]:
    if "token" in name:
        yield lambda _: torch.zeros(1, own, dtype=torch.bool)
    yield lambda _: torch.ones(1, text, dtype=torch.long)
    yield lambda _: torch.ones(1, text, dtype=torch.bool)
    yield lambda _: torch.ones(1, own, dtype=torch.bool)
    sizes = [one for one in layout[1:] if isinstance(one, int)]
    if len(sizes) > 1:
        yield lambda _: _zeros(1, 1, *sizes[-2:])
        yield lambda _: _zeros(1, 1, *sizes)


def _turns(name: str, text: int, own: int, grid: tuple[int, ...]) -> Iterator[Form]:
    if "text" in name:
        yield lambda _: torch.arange(text)
    yield lambda _: tuple(torch.arange(size) for size in grid)
    yield lambda w: (_zeros(own, w(name)), _zeros(own, w(name)))
    yield lambda w: torch.zeros(*grid[1:], w(name), dtype=torch.complex64, device="meta")


def _places(name: str, text: int, own: int, axes: int) -> Iterator[Form]:
    if "time" in name:
        yield from [lambda _: _zeros(1, 6), lambda w: _zeros(1, w(name))]
        return
    first, second = (text, own) if "t" in name.split("_")[0] else (own, text)
    for count in (first, text + own if "position" in name else second, second):
        yield lambda _, n=count: torch.zeros(n, axes)
        yield lambda _, n=count: torch.zeros(1, n, axes)
        yield lambda _, n=count: torch.zeros(1, n, dtype=torch.long)


def _features(name: str, annotation: str, room: Room, layout: Layout, text: int, own: int) -> Iterator[Form]:
    many = "list" in annotation

    def pooled() -> Iterator[Form]:
        yield lambda w: _zeros(1, w(name))
        yield lambda w: _zeros(1, 1, w(name))

    def words() -> Iterator[Form]:
        yield lambda w: _zeros(1, text, w(name))
        yield lambda w: _zeros(room.frames, text, w(name))
        yield lambda w: _zeros(1, text, w(f"{name} layers"), w(name))
        yield lambda w: _zeros(1, w(f"{name} layers"), text, w(name))
        yield lambda w: _zeros(1, own, w(name))
        yield lambda w: _zeros(1, 1, text, w(name))

    def pixels() -> Iterator[Form]:
        yield lambda w: _zeros(*_like(layout, name, w))
        yield lambda w: _zeros(1, w(name), room.height, room.width)
        yield lambda w: _zeros(1, w(name), 8 * room.height, 8 * room.width)

    if many:
        yield lambda w: [_zeros(text, w(name))]
        yield lambda w: [_zeros(1, text, w(name))] * _layers(room.config)
        yield lambda w: [_zeros(*_like(layout, name, w))]
    if any(part in name for part in _POOLED):
        yield from [*pooled(), *words(), *pixels()]
    elif any(part in name for part in _PIXELS) and "hidden_states" not in name and "embed" not in name:
        yield from [*pixels(), *words(), *pooled()]
    else:
        yield from [*words(), *pooled(), *pixels()]
    yield lambda _: torch.zeros(1, dtype=torch.long)
    yield lambda _: torch.zeros(1, own, dtype=torch.long)


def _like(layout: Layout, channels: str, widths: Widths) -> list[int]:
    """The shape of x_t with channels of that name."""
    return [widths(channels) if isinstance(one, str) else one for one in layout]


def _layers(config: Mapping[str, Any]) -> int:
    """How many layers the config says that there are in all."""
    return sum(
        v for key, v in config.items() if key.startswith("num_") and key.endswith("layers") and isinstance(v, int)
    )


class Asked(dict[str, Any]):
    """A mapping that holds whatever it is asked for, as its name says."""

    def __init__(self, name: str, widths: Widths):
        super().__init__()
        self.name, self.widths = name, widths

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> Tensor:
        self[key] = next(_entry(key, f"{self.name}.{key}"))(self.widths)
        return self[key]

    def get(self, key: str, default: Any = None) -> Any:  # type: ignore[override]
        return self[key] if default is None else default


def _entry(key: str, name: str) -> Iterator[Form]:
    if key.endswith("_ids"):
        yield lambda _: _zeros(1, 6)
    if key in ("resolution", "aspect_ratio"):
        yield lambda _: _zeros(1, 2 if key == "resolution" else 1)
    yield lambda w: _zeros(1, w(name))


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, device="meta")
