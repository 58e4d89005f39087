"""condistill: make a conditional diffusion model smaller without a single training image.

The public names below are imported on first use, so that ``import condistill`` costs nothing. `generate`, `distill`,
`evaluate`, `report` and `corpus` are packages that can be called (see `callable_package`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Teacher": "condistill.teacher",
    "Condition": "condistill.teacher",
    "Result": "condistill.train",
    "Cache": "condistill.cache",
    "Pictures": "condistill.pictures",
    "p_random": "condistill.maths",
    "UserError": "condistill.errors",
}
_CALLABLE = ("generate", "distill", "evaluate", "report", "corpus")
__all__ = [
    *_HOME,
    *_CALLABLE,
    "__version__",
]

if TYPE_CHECKING:
    from condistill.cache import Cache as Cache
    from condistill.corpus import corpus as corpus
    from condistill.errors import UserError as UserError
    from condistill.evaluate import evaluate as evaluate
    from condistill.generate import generate as generate
    from condistill.maths import p_random as p_random
    from condistill.pictures import Pictures as Pictures
    from condistill.report import report as report
    from condistill.teacher import Condition as Condition
    from condistill.teacher import Teacher as Teacher
    from condistill.train import Result as Result
    from condistill.train import distill as distill


def __getattr__(name: str) -> Any:
    if name in _CALLABLE:
        return importlib.import_module(f"condistill.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'condistill' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
