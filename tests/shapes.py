"""The type checker behind the import hook of conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype
from beartype.roar import BeartypeDecorHintPep3119Exception


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its annotated types and shapes enforced.

    A function whose signature names a plain protocol stays as it is: python cannot check those at run time, and a
    protocol should not become `runtime_checkable` (which only looks at names) for the tests' sake.
    """
    try:
        return beartype(function)
    except BeartypeDecorHintPep3119Exception:
        return function
