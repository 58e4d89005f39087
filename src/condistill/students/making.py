"""From a teacher and a spec to the student in its pipeline, with what stands upstream of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from condistill.errors import UserError, brief
from condistill.students.carried import carry_over
from condistill.students.plan import StudentPlan
from condistill.students.planning import DoesNotRun, build, make_plan
from condistill.students.presets import check_spec
from condistill.students.scoring import resolved
from condistill.students.upstream import upstream_plans, with_parts
from condistill.teacher.adapters import adapted, as_called
from condistill.teacher.calibrate import EXCHANGING, calibrate
from condistill.teacher.calling import precision_of
from condistill.teacher.failing import is_by_pipeline
from condistill.teacher.keys import parameters_of
from condistill.teacher.precision import answer_as_asked
from condistill.teacher.running import networks

if TYPE_CHECKING:
    from condistill.teacher import Teacher

# what a denoiser, or a pipeline around it, raises at arguments that it does not take
_NO_RUN = (RuntimeError, ValueError, IndexError, KeyError, TypeError, ArithmeticError)


def student_of(
    teacher: Teacher, spec: str | Mapping[str, Any] | StudentPlan, *, init: str, seed: int, cache: Any
) -> Teacher:
    """The student that `spec` makes of the teacher; see `Teacher.student`.

    Raises:
        UserError: unknown preset, or a spec that cuts nothing, everything, or breaks a width.
    """
    if isinstance(spec, StudentPlan):
        return made(teacher, spec, seed=seed)
    network = teacher.network
    if not hasattr(network, "config") or not hasattr(type(network), "from_config"):
        raise UserError(
            f"{type(network).__name__} has no config that says how it is built, so it cannot be cut, nor saved and "
            "loaded; make it a diffusers ModelMixin and ConfigMixin, with @register_to_config on its __init__"
        )
    about = (network.config, type(network), resolved(spec, teacher, cache))
    inputs: dict[str, Any] | None = None
    try:
        inputs = teacher.example() if teacher.is_calibrated else None
        student = made(teacher, make_plan(*about, init=init, inputs=inputs, network=network), seed=seed)  # type: ignore
    except UserError as error:
        if inputs is not None and isinstance(error, DoesNotRun):
            with suppress(DoesNotRun):
                return _fed_anew(teacher, about, inputs, error, init=init, seed=seed)
        raise _why_not_narrower(teacher, about, init) or error from error
    except _NO_RUN:
        # the denoiser does not run at the size that its pipeline takes by itself: planned by its config alone
        return made(teacher, make_plan(*about, init=init), seed=seed)  # type: ignore[arg-type]
    return _called(student)


def _called(student: Teacher) -> Teacher:
    """The student, if its pipeline gets as far as calling it; one may want a part that was cut off (a mid block).

    Raises:
        UserError: it does not.
    """
    if student.is_calibrated:
        found = student.calibration
        keys, left_out = found.keys[: 1 if found.runner.single else 2], _left_out(student)
        try:
            found.runner.first(keys)
            if left_out:  # which puts attention of its own into the network
                copied = student.with_network(copy.deepcopy(student.network), plan=student.plan)
                copied.calibration.runner.with_call(**left_out).first(keys)
        except Exception as error:
            if not is_by_pipeline(error):
                raise
            spec, name = student.plan.spec if student.plan else "", type(student.pipeline).__name__
            raise UserError(
                f"{name} cannot call the student that {spec} makes ({type(error).__name__}: {brief(error)}); it wants "
                "something that this cut takes away, so choose another"
            ) from error
    return student


def _left_out(student: Teacher) -> dict[str, Any]:
    """Guidance that recordings leave out, as the pipeline has it by itself."""
    names = parameters_of(student.pipeline)
    usual = {
        name: names[name].default for name in EXCHANGING if name in names and name not in student.calibration.given
    }
    return {name: value for name, value in usual.items() if isinstance(value, int | float) and value > 0}


def _why_not_narrower(teacher: Teacher, about: tuple[Any, Any, Any], init: str) -> UserError | None:
    """What forbids a width that the network by itself could have: another network that feeds it at the teacher's."""
    above = sorted({name for name, _ in teacher.calibration.links.values()}) if teacher.is_calibrated else []
    if not above or check_spec(about[2]).width == 1.0:
        return None
    try:
        make_plan(*about, init=init)
    except UserError:
        return None
    return UserError(
        f"got a width below 1 for a network under {above[0]}, which gives it what is as wide as the teacher, and would "
        "have to be trained as well if it were narrowed; give depth=0.5"
    )


def made(teacher: Teacher, plan: StudentPlan, *, seed: int) -> Teacher:
    """The student of a finished plan.

    Raises:
        UserError: the plan was made for another teacher.
    """
    parts, cut = networks(teacher.pipeline), {}
    for path, one in plan.upstream.items():
        name, _, inner = path.partition(".")
        own = parts[name].get_submodule(inner)
        cut.setdefault(name, {})[inner] = build(one, own).to(precision_of(own))
    above = {name: with_parts(parts[name], its) for name, its in cut.items()}
    student = teacher.with_network(_network(teacher, plan, seed=seed), plan=plan, upstream=above)
    if not plan.fed_anew:
        return student
    known = student.calibration
    keys = known.keys if known.keys_given else None
    own = calibrate(student.pipeline, student.component, known.given, keys=keys, small_first=known.is_small)
    return type(teacher)(student.pipeline, student.component, own, plan=plan)


def fit(teacher: Teacher, student: Teacher) -> None:
    """Plans a student anew that was cut before its pipeline could be called, now that its teacher was; in place.

    Its network stays the one that it is. Its taps follow from a pass on recorded arguments, and what stands upstream of
    it (a ControlNet) is cut along.

    Raises:
        UserError: with what its pipeline gives it, another network would have been cut.
    """
    plan = student.plan
    if plan is None or plan.inputs_given or not teacher.is_calibrated:
        return
    if student.is_calibrated and not teacher.calibration.links:
        return  # nothing stands upstream of it that would have to be cut along
    again = teacher.student(plan.spec, init=plan.init)
    if again.plan is None or again.plan.config != plan.config:
        raise UserError(
            f"the student ({plan.spec}) was cut before its pipeline was ever called, and does not fit what it is "
            "given; make it from a teacher that was called: Teacher.from_pipeline(pipe, call=...).student(SPEC)"
        )
    names = {path.partition(".")[0] for path in again.plan.upstream}
    student.pipeline.register_modules(**{name: getattr(again.pipeline, name) for name in names})
    known = again.calibration
    own = replace(known, runner=replace(known.runner, pipeline=student.pipeline))
    type(student).__init__(student, student.pipeline, student.component, own, plan=again.plan)


def _network(teacher: Teacher, plan: StudentPlan, *, seed: int) -> nn.Module:
    """The student's network, as a pipeline can use it that its teacher is in."""
    theirs = teacher.network
    called = teacher.example() if teacher.is_calibrated and adapted(theirs) else None
    with as_called(theirs, called):
        network = build(plan, theirs, seed=seed)
    carry_over(plan, theirs, network)
    half = next((p.dtype for p in theirs.parameters() if p.is_floating_point() and p.dtype != torch.float32), None)
    if half is not None:
        answer_as_asked(network, half)
    return network


def _fed_anew(
    teacher: Teacher, about: tuple[Any, Any, Any], inputs: Mapping[str, Any], error: DoesNotRun, *, init: str, seed: int
) -> Teacher:
    """The student whose pipeline gives it other arguments: it asks how many blocks there are, or what stands upstream
    of it is cut as well.

    Raises:
        DoesNotRun: `error`, if it does not run on those either.
    """
    network, found = teacher.network, teacher.calibration
    try:
        plan = make_plan(*about, init=init, network=network)
        above: dict[str, StudentPlan] = {}
        for name in dict.fromkeys(name for name, _ in found.links.values()):
            above |= upstream_plans(plan, name, networks(teacher.pipeline)[name], found.templates[name])
        new = {"fed_anew": True, "upstream": above}
        student = made(teacher, replace(plan, **new), seed=seed)
        plan = make_plan(*about, init=init, inputs=inputs, own_inputs=student.example(), network=network)
    except _NO_RUN as again:
        raise error from again
    return student.with_network(_network(teacher, plan, seed=seed), plan=replace(plan, **new))
