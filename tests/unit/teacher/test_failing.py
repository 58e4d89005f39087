"""Pipelines that raise while they are watched: run another way where that helps, and else told what they lack."""

from __future__ import annotations

from typing import Any

import pytest

from condistill import Teacher, UserError
from tests.contract import battery
from tests.tiny.catalogue import catalogue


def test_a_pipeline_may_look_into_its_denoiser() -> None:
    case = catalogue()["sd-sag"]
    # without guidance it is asked for the second call of a step, with the first one answered in the network's place
    call = {**case.call(), "guidance_scale": 1.0, "sag_scale": 1.0}
    assert Teacher.from_pipeline(case.build(), call=call).calibration.key_paths


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("gligen", None, r"pass what it needs \(gligen_phrases, gligen_boxes\) with call="),
        ("gligen-by-itself", {}, r"fuser.enabled.*call=.*gligen_scheduled_sampling_beta \(0.3\)"),
        ("sd-attend-and-excite", {}, r"changes x_t by gradients through its unet.*pass with call="),
    ],
)
def test_it_is_said_what_to_pass(name: str, more: dict[str, Any] | None, message: str) -> None:
    case = catalogue()[name]
    with pytest.raises(UserError, match=message):
        _ = Teacher.from_pipeline(case.build(), call=None if more is None else case.call()).calibration


def test_a_strength_that_leaves_no_step_is_named() -> None:
    case = catalogue()["sd-img2img"]
    call = {**case.call(), "strength": 0.1, "num_inference_steps": 3}
    with pytest.raises(UserError, match=r"took no step.*strength"):
        battery.recorded(case).sample([case.keys[0]], call=call, output="latent")


def test_what_has_noise_left_is_no_x0() -> None:
    case = catalogue()["sdxl"]
    teacher, call = battery.recorded(case), {**case.call(), "num_inference_steps": 4}
    assert len(teacher.sample([case.keys[0]], call=call, output="latent").latents) == 1
    with pytest.raises(UserError, match=r"ended at time .*2 before the last of its 4.*not denoising_end=0.5"):
        teacher.sample([case.keys[0]], call={**call, "denoising_end": 0.5}, output="latent")


def test_pipelines_inside_a_pipeline_print_no_bars_either(capsys: pytest.CaptureFixture[str]) -> None:
    case = catalogue()["visual-cloze-combined"]
    assert Teacher.from_pipeline(case.build(), case.component, call=case.call(), keys=case.keys).calibration.key_paths
    assert "it/s" not in capsys.readouterr().err
