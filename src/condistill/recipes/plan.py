"""`condistill plan`: what a recipe will take, before it is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError
from condistill.recipes.hardware import DEFAULT_GPU, Device, gpu, this_machine
from condistill.recipes.memory import decided
from condistill.recipes.outlook import Outlook, outlook, sheet_speed
from condistill.recipes.schema import Recipe
from condistill.recipes.sizes import Sizes, sizes_by_config, sizes_by_teacher
from condistill.recipes.work import ArmWork, Work, work_of

if TYPE_CHECKING:
    from condistill.recipes.run import Run
    from condistill.teacher import Teacher


def plan_recipe(
    recipe: Recipe, *, title: str, out: str | Path, gpu_name: str | None = None, num_devices: int = 1
) -> Outlook:
    """What the recipe takes: measured on this machine, or by operations on a GPU that is named.

    A teacher that is only a hub id is not fetched: it is counted by its config, on the named GPU or the usual one. One
    whose folder has no weights is counted so too, and so is a denoiser's folder or config.json without its pipeline.

    Raises:
        UserError: no such teacher, GPU or config, or the student's spec does not fit.
    """
    from condistill.recipes.run import load_teacher
    from condistill.teacher.loading import has_weights, is_component, resolve

    where = None if is_component(recipe.teacher.load) else resolve(recipe.teacher.load)
    if not isinstance(where, Path) or not has_weights(where):
        sizes, device = sizes_by_config(recipe), gpu(gpu_name or DEFAULT_GPU)
        work = work_of(recipe, default_steps=sizes.own_steps)
        notes = () if gpu_name else (f"no --gpu was named: counted for {DEFAULT_GPU}",)
        return _counted(title, work, sizes, device, num_devices, out, notes)
    if gpu_name is None and num_devices != 1:
        raise UserError(
            f"got --gpus {num_devices} without --gpu; name the GPU as well, for example --gpu {DEFAULT_GPU}"
        )
    device = gpu(gpu_name) if gpu_name is not None else None
    teacher = load_teacher(recipe)
    work, sizes = work_of(recipe, default_steps=own_steps(teacher)), sizes_by_teacher(recipe, teacher)
    if device is not None:
        return _counted(title, work, sizes, device, num_devices, out, ())
    arm = work.arms[-1]
    student = teacher.student(sizes.arms[arm.name].plan)
    return _measured(title, work, sizes, teacher, student, arm, out)


def outlook_of_run(run: Run) -> Outlook | None:
    """What a run takes on this machine, from a few passes of its teacher and of one student, which the run keeps to
    train it; None where all are trained, or where D decides what the student is."""
    from condistill.recipes.run import is_trained, make_student

    arm = next((arm for arm in run.arms if not is_trained(arm, run.out)), None)
    if arm is None or "scored" in str(arm.recipe.student.spec):
        return None
    student = run.students[arm.name] = make_student(arm.recipe, run.teacher)
    teacher = run.teacher
    work = work_of(run.recipe, default_steps=own_steps(teacher))
    sizes = sizes_by_teacher(run.recipe, teacher, {arm.name: student.plan} if student.plan else None)
    chosen = next(one for one in work.arms if one.name == arm.name)
    return _measured(run.recipe.name, work, sizes, teacher, student, chosen, run.out)


def _measured(
    title: str, work: Work, sizes: Sizes, teacher: Teacher, student: Teacher, arm: ArmWork, out: str | Path
) -> Outlook:
    from condistill.recipes.trial import measured_speed, trial

    macs, device = {name: float(one.macs) for name, one in sizes.arms.items()}, this_machine()
    work = decided(work, sizes, device=device, num_devices=1)
    speed = measured_speed(work, trial(arm.recipe, teacher, student), macs, measured=arm.name)
    return outlook(title, work, sizes, speed, device=device, num_devices=1, out=out)


def own_steps(teacher: Teacher) -> int | None:
    """The pipeline's own number of sampling steps, None where its call has no such argument."""
    from condistill.teacher.keys import parameters_of

    found = parameters_of(teacher.pipeline).get("num_inference_steps")
    value: Any = found.default if found is not None else None
    return value if isinstance(value, int) else None


def _counted(
    title: str, work: Work, sizes: Sizes, device: Device, num_devices: int, out: str | Path, notes: tuple[str, ...]
) -> Outlook:
    if not sizes.teacher_macs or not all(one.macs for one in sizes.arms.values()):
        raise UserError(
            f"the operations of {sizes.network} could not be counted on shapes alone; plan it on the machine itself, "
            "without --gpu"
        )
    work = decided(work, sizes, device=device, num_devices=num_devices)
    speed = sheet_speed(work, sizes, device)
    found = outlook(title, work, sizes, speed, device=device, num_devices=num_devices, out=out)
    return dataclasses.replace(found, notes=(*found.notes, *notes))
