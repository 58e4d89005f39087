"""What a pipeline raises on the arguments it was watched with, and what is said of it."""

from __future__ import annotations

import linecache
import re
import traceback
from typing import Any

import torch

from condistill.errors import UserError
from condistill.teacher.keys import parameters_of


class NotRun(UserError):
    """The pipeline cannot be recorded with the call at hand; with other arguments it may be."""


# more of a line's arguments that are None are more likely left out on purpose
FEW = 2
LENGTH = 2**32  # of a text in tokens: the libraries of tokenizers cut it to no more
BY_PIPELINE = "raised by the pipeline itself, while condistill watched it"


def is_by_pipeline(error: Exception) -> bool:
    """Whether the pipeline raised it on its arguments, and nothing of ours did."""
    return BY_PIPELINE in getattr(error, "__notes__", ()) and not isinstance(error, UserError)


def not_run(pipeline: Any, component: str, error: Exception) -> NotRun:
    """The error for a pipeline that raised `error` on example keys."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if any(frame.f_code is torch.autograd.grad.__code__ for frame, _ in traceback.walk_tb(error.__traceback__)):
        return NotRun(
            f"{type(pipeline).__name__} changes x_t by gradients through its {component} in its loop; "
            "pass with call= what leaves them out, or distil a pipeline of the same parts without them"
        )
    for name, part in getattr(pipeline, "components", {}).items() if isinstance(error, OverflowError) else ():
        most = getattr(part, "model_max_length", None)
        if isinstance(most, int) and most > LENGTH:
            return NotRun(
                f"{type(pipeline).__name__} cannot cut a text to {most} tokens, which its {name} has for the most that "
                "there may be (model_max_length); write the length that the text encoder takes"
            )
    return NotRun(
        f"{type(pipeline).__name__} could not be run with example keys ({reason}); pass what it needs "
        f"({', '.join(_left_out(pipeline, error)) or 'size, pictures'}) with call="
    )


def _left_out(pipeline: Any, error: Exception) -> list[str]:
    """The pipeline's arguments that are None in the line that raised, in the innermost function that has any."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        said = set(re.findall(r"\w+", linecache.getline(frame.f_code.co_filename, line)))
        missing = [n for n in parameters_of(pipeline) if n in said and frame.f_locals.get(n, "") is None]
        if missing:
            return missing if len(missing) <= FEW else []
    return []
