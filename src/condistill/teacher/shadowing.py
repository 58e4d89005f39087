"""Shadowing: an attribute that is another one for a while, and what a shadowed forward is called with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


def bound_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The call's arguments by parameter name, whether they were passed by place or by name."""
    found = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
    named = {name: value for name, value in list(found.items())[1:] if name != "kwargs"}
    return {**named, **found.get("kwargs", {})}


@contextmanager
def shadowed(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """`owner.name` is `replacement` inside the block, and what it was (class or instance attribute) after it."""
    missing = object()
    before = vars(owner).get(name, missing)
    if isinstance(owner, type):
        inherited = before is missing
        setattr(owner, name, replacement)
        try:
            yield
        finally:
            delattr(owner, name) if inherited else setattr(owner, name, before)
        return
    # vars(), not setattr: nn.Module and ConfigMixin intercept attribute access
    vars(owner)[name] = replacement
    try:
        yield
    finally:
        if before is missing:
            del vars(owner)[name]
        else:
            vars(owner)[name] = before
