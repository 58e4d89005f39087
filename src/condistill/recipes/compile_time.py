"""What compiling costs before the first step, and what it saves in each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from condistill.recipes.hardware import Device
from condistill.recipes.sizes import Sizes
from condistill.recipes.work import Work
from condistill.train.compiling import COMPILED_SHARE, STUDENT_SECONDS, TEACHER_SECONDS, num_kinds

if TYPE_CHECKING:
    from condistill.recipes.outlook import Speed

NOT_KNOWN = "what train.compile costs and saves was measured on a CPU only and is not counted here"


def compile_seconds(work: Work, sizes: Sizes, device: Device) -> float:
    """Seconds of compiling for all arms that are compiled, with nothing in torch's cache; 0 on a GPU, where no rate is
    known. Networks of one shape are compiled once, the teacher's as well."""
    from condistill.students.meta import on_meta

    if not device.is_cpu:
        return 0.0
    found: dict[str, float] = {}
    for arm in work.arms:
        plan = sizes.arms[arm.name].plan
        if arm.is_compiled and plan.spec not in found:
            student = on_meta(plan.cls, plan.config)
            found[plan.spec] = STUDENT_SECONDS * num_kinds(student, [pair.student for pair in plan.taps])
            teacher = on_meta(plan.cls, plan.teacher_config)
            of_teacher = TEACHER_SECONDS * num_kinds(teacher, [pair.teacher for pair in plan.taps])
            found[""] = max(found.get("", 0.0), of_teacher)
    return sum(found.values())


def speed_compiled(work: Work, speed: Speed, device: Device) -> Speed:
    """The speed with what compiling saved where it was measured as the least that a sample of a compiled arm takes."""
    if not device.is_cpu:
        return speed
    compiled = {arm.name for arm in work.arms if arm.is_compiled}
    trained = {
        name: (low * COMPILED_SHARE if name in compiled else low, high) for name, (low, high) in speed.trained.items()
    }
    return replace(speed, trained=trained)


def notes_on_compiling(work: Work, device: Device) -> tuple[str, ...]:
    """What is not known of compiling on the device."""
    return (NOT_KNOWN,) if not device.is_cpu and any(arm.is_compiled for arm in work.arms) else ()
