"""Smaller networks of the teacher's kind: planned from the config alone, built from its weights.

Reading a spec needs no torch, so the names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Origin": "plan",
    "Part": "plan",
    "StudentPlan": "plan",
    "TapPair": "plan",
    "Cut": "presets",
    "PRESETS": "presets",
    "Preset": "presets",
    "check_spec": "presets",
    "spec_text": "presets",
    "load_config": "shipped",
    "shipped_configs": "shipped",
    "Stack": "stacks",
    "find_stacks": "stacks",
    "make_plan": "planning",
    "build": "planning",
    "Inspection": "inspection",
    "Row": "inspection",
    "inspect": "inspection",
    "count_macs": "costs",
    "count_parameters": "costs",
}
__all__ = [
    "Origin",
    "Part",
    "StudentPlan",
    "TapPair",
    "Cut",
    "PRESETS",
    "Preset",
    "check_spec",
    "spec_text",
    "load_config",
    "shipped_configs",
    "Stack",
    "find_stacks",
    "make_plan",
    "build",
    "Inspection",
    "Row",
    "inspect",
    "count_macs",
    "count_parameters",
]

if TYPE_CHECKING:
    from condistill.students.costs import count_macs as count_macs
    from condistill.students.costs import count_parameters as count_parameters
    from condistill.students.inspection import Inspection as Inspection
    from condistill.students.inspection import Row as Row
    from condistill.students.inspection import inspect as inspect
    from condistill.students.plan import Origin as Origin
    from condistill.students.plan import Part as Part
    from condistill.students.plan import StudentPlan as StudentPlan
    from condistill.students.plan import TapPair as TapPair
    from condistill.students.planning import build as build
    from condistill.students.planning import make_plan as make_plan
    from condistill.students.presets import PRESETS as PRESETS
    from condistill.students.presets import Cut as Cut
    from condistill.students.presets import Preset as Preset
    from condistill.students.presets import check_spec as check_spec
    from condistill.students.presets import spec_text as spec_text
    from condistill.students.shipped import load_config as load_config
    from condistill.students.shipped import shipped_configs as shipped_configs
    from condistill.students.stacks import Stack as Stack
    from condistill.students.stacks import find_stacks as find_stacks


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
