"""A few measured passes of teacher and student on this machine, and what they say about the whole recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from condistill.recipes.outlook import Speed
from condistill.recipes.schema import Recipe
from condistill.recipes.sizes import BACKWARD
from condistill.recipes.work import Work
from condistill.stopwatch import median_seconds
from condistill.teacher.calling import precision_of
from condistill.train.api import asked_network
from condistill.train.options import TrainOptions

if TYPE_CHECKING:
    from condistill.teacher import Teacher

NUM_SAMPLES = 8  # at once, or the recipe's micro-batch if that is smaller
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Trial:
    """Seconds of one sample.

    Attributes:
        teacher: of one pass of the teacher as it samples.
        asked: of one pass of the teacher as it answers in training.
        student: of a forward and a backward pass of the student.
        num_samples: how many were given at once.
    """

    teacher: float
    asked: float
    student: float
    num_samples: int


def trial(recipe: Recipe, teacher: Teacher, student: Teacher, *, repeats: int = 3) -> Trial:
    """What passes of teacher and student take here: the median of a few after one that is not timed.

    Nothing is trained: the student's weights are as they were.

    Args:
        recipe: of the arm that the student belongs to.
        teacher: recorded with D's call.
    """
    train = recipe.train
    num = min(NUM_SAMPLES, train.micro_batch or train.batch, train.batch)
    x_t = torch.zeros(num, *teacher.latent_shape, device=teacher.device)
    t = teacher.noise_path.times(torch.full((num,), 0.5)).to(teacher.device)
    # a student whose pipeline gives it other arguments encodes for itself
    asker = student if student.plan is not None and student.plan.fed_anew else teacher
    condition, own = (one.encode([teacher.calibration.keys[0]] * num) for one in (teacher, asker))
    options = TrainOptions(**{**train.model_dump(), "p_null": recipe.loss.p_null})
    asked, network = asked_network(teacher, options), student.network
    was_trained = [p.requires_grad for p in network.parameters()]
    network.requires_grad_(True)
    if train.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    autocast = _autocast(train.precision, teacher.device)

    @torch.no_grad()
    def pass_of(one: Any) -> None:
        one(**teacher.arguments(x_t, t, condition, dtype=precision_of(one)))

    def learn() -> None:
        with autocast():
            output = teacher.prediction(network(**asker.arguments(x_t, t, own, dtype=torch.float32)))
        output.float().square().mean().backward()
        network.zero_grad(set_to_none=True)

    try:
        drawn = median_seconds(lambda: pass_of(teacher.network), repeats=repeats, device=teacher.device)
        answered = drawn
        if asked is not teacher.network or train.precision != "no":
            with autocast():
                answered = median_seconds(lambda: pass_of(asked), repeats=repeats, device=teacher.device)
        learned = median_seconds(learn, repeats=repeats, device=teacher.device)
    finally:
        for p, was in zip(network.parameters(), was_trained, strict=True):
            p.requires_grad_(was)
    return Trial(drawn / num, answered / num, learned / num, num)


def measured_speed(work: Work, found: Trial, macs: dict[str, float], *, measured: str) -> Speed:
    """The speed of every stage from one trial; other arms by their operations.

    Args:
        macs: arm -> multiply-accumulates of its student's pass.
        measured: the arm that was tried.
    """
    trained, shown = {}, found.teacher
    for arm in work.arms:
        share = macs[arm.name] / macs[measured] if macs[measured] else 1.0
        again = 1 / (1 + BACKWARD) if arm.recipe.train.gradient_checkpointing else 0.0
        student = found.student * share
        trained[arm.name] = _both(arm.teacher_passes * found.asked + student * (1 + again))
        shown += student / (1 + BACKWARD)
    return Speed(
        f"measured here, {found.num_samples} samples at once",
        _both(found.teacher * work.passes_per_image),
        trained,
        _both(shown * work.passes_per_evaluated),
    )


def _both(seconds: float) -> tuple[float, float]:
    return seconds, seconds


def _autocast(precision: str, device: torch.device) -> Callable[[], Any]:
    if precision not in AUTOCAST:
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, AUTOCAST[precision])
