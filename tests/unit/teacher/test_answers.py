"""What a pipeline makes of its denoiser's answer, and the target of the task loss that follows from it."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from condistill import Teacher
from condistill.distill.losses import LossWeights, check_task, task_target
from condistill.errors import UserError
from condistill.maths.noise_path import noise_path
from tests.contract import battery
from tests.tiny.catalogue import catalogue
from tests.tiny.pipelines import sd


@pytest.mark.parametrize("inverted", [False, True])
def test_the_target_of_a_flow_is_what_its_scheduler_steps_along(inverted: bool) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(invert_sigmas=inverted)
    path = noise_path(scheduler)
    scheduler.set_timesteps(5)
    x0, eps = torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(0))
    x_t = path.add_noise(x0, eps, scheduler.timesteps[1:2])
    target = task_target(x0, eps, scheduler.timesteps[1:2], path=path, prediction_type="epsilon")
    found = scheduler.step(target, scheduler.timesteps[1], x_t).prev_sample
    torch.testing.assert_close(found, path.add_noise(x0, eps, scheduler.timesteps[2:3]), rtol=0, atol=1e-5)


def test_the_sign_of_the_answer_is_seen() -> None:
    cases = catalogue()
    signs = {name: battery.recorded(cases[name]).answer_sign for name in ("mochi", "z-image", "ltx2")}
    assert signs == {
        "mochi": 1.0,
        "z-image": -1.0,
        "ltx2": 1.0,
    }


def test_a_task_without_a_known_target_is_refused() -> None:
    case = catalogue()["ltx-condition"]  # its scheduler is told a time for every token, and then steps the other way
    teacher = battery.recorded(case)
    assert teacher.answer_sign is None
    check_task(LossWeights(), teacher)
    with pytest.raises(UserError, match="set task to 0"):
        check_task(LossWeights(task=0.5), teacher)
    check_task(LossWeights(task=0.5), Teacher.from_pipeline(sd()))
