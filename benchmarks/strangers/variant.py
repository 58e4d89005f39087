"""One drawn pipeline, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PROMPTS = ("a red fox", "two ships at sea", "a stone bridge")


@dataclass(frozen=True)
class Variant:
    """A pipeline of drawn configs.

    Attributes:
        name: group/number.
        drawn: what was drawn, as it is written to the results.
        build: () -> the pipeline.
        call: () -> its own arguments besides the key.
        keys: three different keys.
        component: the denoiser's name where there are several.
    """

    name: str
    drawn: Mapping[str, Any]
    build: Callable[[], Any]
    call: Callable[[], dict[str, Any]] = dict
    keys: tuple[Any, ...] = PROMPTS
    component: str | None = None


@dataclass
class Found:
    """What became of a variant.

    Attributes:
        outcome: "ok", "refused", "crashed", or "unbuilt" where diffusers itself does not run it.
        stage: where it ended.
        said: the message, or the end of the traceback.
        students: spec -> "ok" or what was said.
    """

    outcome: str = "ok"
    stage: str = ""
    said: str = ""
    students: dict[str, str] = field(default_factory=dict)
