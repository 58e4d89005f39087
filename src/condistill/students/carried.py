"""Carried over: what was done to a teacher's network after it was made, and what its config does not say.

A student is built from a config. FreeU's numbers and attention processors of a user's own are set on the finished
network, and the student is to be compared with the teacher as it is.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch import nn

from condistill.errors import Remark, UserError
from condistill.students.meta import on_meta
from condistill.students.plan import StudentPlan


def carry_over(plan: StudentPlan, teacher: nn.Module, student: nn.Module) -> None:
    """Sets on the student's modules what was set on their counterparts; a remark says so, as no folder keeps it.

    Raises:
        UserError: an attention processor has weights, which no tensor of a student has its origin in; or a module was
            exchanged for one of another class.
    """
    pairs = [
        (path, teacher.get_submodule(source), student.get_submodule(path)) for path, source in plan.modules.items()
    ]
    others = [plan.modules[path] for path, theirs, ours in pairs if not isinstance(theirs, type(ours))]
    numbers = [(path, theirs, ours) for path, theirs, ours in pairs if _numbers(theirs) != _numbers(ours)]
    fresh = dict(on_meta(plan.cls, plan.teacher_config).named_modules()) if numbers or others else {}
    _check_same([(path, teacher.get_submodule(path), fresh.get(path)) for path in others])
    found = []
    for path, theirs, ours in numbers:
        usual = fresh.get(plan.modules[path])
        known = {} if usual is None or hasattr(theirs, "base_layer") else _numbers(usual)
        own = {} if usual is None or hasattr(theirs, "base_layer") else _numbers(theirs)
        for name, value in own.items():
            if known.get(name) != value:
                setattr(ours, name, value)
                found.append(f"{path}.{name}".lstrip("."))
    found += [path for path, theirs, ours in pairs if _carried_processor(path, theirs, ours)]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        warnings.warn(
            f"{found[0]}{more} of {type(teacher).__name__} were set after it was made (FreeU, an own processor), so on "
            "the student as well; its folder does not keep them: set them again where it is loaded",
            Remark,
            stacklevel=2,
        )


def _check_same(modules: list[tuple[str, nn.Module, nn.Module | None]]) -> None:
    for path, theirs, usual in modules:
        if usual is not None and not isinstance(theirs, type(usual)) and not hasattr(theirs, "base_layer"):
            raise UserError(
                f"{path} is {type(theirs).__name__} where its config makes {type(usual).__name__}; a student is made "
                "from the config; undo what exchanged it on the pipeline before, as with pipe.disable_free_noise()"
            )


def _numbers(module: nn.Module) -> dict[str, float]:
    """The module's plain numbers, but for switches and what its library keeps for itself."""
    own = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {name: value for name, value in own.items() if type(value) in (int, float)}


def _carried_processor(path: str, theirs: Any, ours: Any) -> bool:
    """Whether the student's module was given a copy of its counterpart's processor, which is none of diffusers'."""
    own, usual = getattr(theirs, "processor", None), getattr(ours, "processor", None)
    if own is None or usual is None or type(own) is type(usual):
        return False
    if isinstance(own, nn.Module) and next(own.parameters(), None) is not None:
        raise UserError(
            f"the attention processor of {path} ({type(own).__name__}) has weights of its own, as an IP-Adapter's has, "
            "and a student cannot take them over; take it off the pipeline before, as with pipe.unload_ip_adapter()"
        )
    if type(own).__module__.partition(".")[0] == "diffusers":
        return False
    ours.processor = copy.deepcopy(own)
    return True
