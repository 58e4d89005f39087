"""One tiny pipeline of the catalogue: how to build it and how to call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PROMPTS = ("a red fox", "two ships at sea", "a stone bridge")


@dataclass(frozen=True)
class Case:
    """A pipeline that the contract battery runs.

    Attributes:
        name: unique, as tests and docs/teachers.md print it.
        family: what kind of denoiser or condition it is.
        build: () -> a fresh pipeline, the same weights every time.
        call: () -> the pipeline's own arguments besides the key: size, frames, images.
        keys: three different keys.
        component: the denoiser's name where there are several.
        student: the spec that cuts it.
    """

    name: str
    family: str
    build: Callable[[], Any]
    call: Callable[[], dict[str, Any]] = dict
    keys: tuple[Any, ...] = PROMPTS
    component: str | None = None
    student: str = "depth=0.5"
