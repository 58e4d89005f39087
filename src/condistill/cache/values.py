"""Values of keys and calls as JSON and back: pictures and tensors in base64, records of diffusers by name.

>>> restored(plain({"prompt": "a fox", "sizes": [1, 2]}))
{'prompt': 'a fox', 'sizes': [1, 2]}
>>> restored(plain({"image_embeds": torch.ones(1, 2)}))
{'image_embeds': tensor([[1., 1.]])}
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from condistill.errors import UserError
from condistill.pictures import Pictures
from condistill.reading import mapping, whole
from condistill.reading import text as read_text

LIBRARY = "diffusers."
PICTURE, TENSOR, ARRAY, RECORD, PICTURES = "$picture", "$tensor", "$array", "$record", "$pictures"


def refused(value: Any) -> str:
    """Raises TypeError: the value has no way back from JSON."""
    raise TypeError(f"{type(value).__name__} cannot be kept")


def named(value: Any) -> str:
    """The value's type and a hash of its repr: enough to tell two apart, and no way back."""
    return f"{type(value).__name__}:{hashlib.sha256(repr(value).encode()).hexdigest()[:12]}"


def plain(value: Any, unknown: Callable[[Any], str] = refused) -> Any:
    """The value in JSON types; `unknown` says what a function, say, becomes."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(one, unknown) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, unknown) for one in value]
    if isinstance(value, Pictures):  # not where they lie, so that the folder may move
        return {PICTURES: {"num": len(value), "sha256": value.sha256, "first": plain(value[0], unknown)}}
    if isinstance(value, Tensor):
        return {TENSOR: _text(save({"value": value.detach().cpu().contiguous()}))}
    if isinstance(value, np.ndarray):
        return {ARRAY: plain(torch.from_numpy(np.ascontiguousarray(value)))[TENSOR]}
    if hasattr(value, "save") and hasattr(value, "mode"):
        buffer = io.BytesIO()
        value.save(buffer, format="PNG")
        return {PICTURE: _text(buffer.getvalue())}
    if dataclasses.is_dataclass(value) and type(value).__module__.startswith(LIBRARY):
        fields = {field.name: plain(getattr(value, field.name), unknown) for field in dataclasses.fields(value)}
        return {RECORD: [type(value).__module__, type(value).__name__, fields]}
    return unknown(value)


def restored(value: Any) -> Any:
    """What `plain` wrote, as it was; tuples come back as lists."""
    if isinstance(value, list):
        return [restored(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        kind, text = next(iter(value.items()))
        if kind == RECORD:
            return _record(text)
        if kind == PICTURES:
            return _pictures(text)
        if kind in (PICTURE, TENSOR, ARRAY):
            return _whole(kind, text)
    return {name: restored(one) for name, one in value.items()}


def _whole(kind: str, text: Any) -> Any:
    """A picture, tensor or array from its text.

    Raises:
        UserError: it is not what `plain` wrote.
    """
    try:
        data = base64.b64decode(text)
        if kind == PICTURE:
            return _picture(data)
        tensor = load(data)["value"]
    except (ValueError, TypeError, KeyError, OSError, SyntaxError, SafetensorError) as error:
        raise UserError(f"what is kept as {kind} cannot be read ({error}); restore the file from a copy") from error
    return tensor if kind == TENSOR else tensor.numpy()


def _pictures(found: Any) -> Pictures:
    """The pictures of which only the first is at hand.

    Raises:
        UserError: it is no record of pictures.
    """
    where = "a record of pictures in D"
    record = mapping(found, where)
    first, num = restored(record.get("first")), whole(record.get("num"), f"{where}: num")
    return Pictures([first], sha256=read_text(record.get("sha256"), f"{where}: sha256"), num=num)


def is_plain(value: Any) -> bool:
    """Whether the value is made of JSON types only."""
    if isinstance(value, Mapping):
        return all(is_plain(one) for one in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(one) for one in value)
    return isinstance(value, str | int | float | bool | None)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _record(written: Any) -> Any:
    """The record of diffusers (a frame and where it is given) that was written by name; nothing else is imported."""
    try:
        module, name, fields = written
        cls = getattr(importlib.import_module(module), name, None) if module.startswith(LIBRARY) else None
        if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
            raise UserError(f"{module}.{name} is no record of diffusers; it was not written by condistill")
        return cls(**{field: restored(value) for field, value in fields.items()})
    except (TypeError, AttributeError, ImportError, ValueError) as error:
        raise UserError(f"{written!r:.80} is no record of diffusers ({error}); restore the file from a copy") from error


def _picture(data: bytes) -> Any:
    from PIL import Image

    picture = Image.open(io.BytesIO(data), formats=["PNG"])
    picture.load()
    return picture
