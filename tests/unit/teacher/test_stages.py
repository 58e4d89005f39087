"""Pipelines in stages: networks of one class that take turns, or that each have a loop of their own."""

from __future__ import annotations

import torch

from condistill import Teacher
from condistill.teacher.blanks import likely_answer
from condistill.teacher.calibrate import NUM_STEPS, _few_steps
from condistill.teacher.running import Runner, experts
from tests.tiny.catalogue import catalogue
from tests.tiny.images_old import cascade, unclip, wuerstchen_prior


def test_networks_of_one_class_are_experts_only_with_one_scheduler() -> None:
    """Stable Cascade's stages are of one class; blanked as an expert, the first said the same for every key."""
    assert experts(Runner(cascade(), "decoder")) == {}
    case = catalogue()["wan-2.2-high-noise"]
    assert set(experts(Runner(case.build(), "transformer"))) == {"transformer", "transformer_2"}


def test_what_an_earlier_stage_makes_of_the_key_belongs_to_it() -> None:
    call = {"height": 16, "width": 16, "prior_num_inference_steps": 2}
    teacher = Teacher.from_pipeline(cascade(), call=call)
    assert set(teacher.calibration.key_paths) == {"clip_text_pooled", "effnet"} and not teacher.calibration.bound
    assert teacher.calibration.time_range is None


def test_the_stage_of_the_denoiser_has_the_steps() -> None:
    pipeline = unclip()
    steps = _few_steps(pipeline, "decoder")
    assert steps["decoder_num_inference_steps"] == NUM_STEPS > steps["prior_num_inference_steps"] == 2
    assert _few_steps(pipeline, "prior")["prior_num_inference_steps"] == NUM_STEPS


def test_a_network_that_answers_with_a_tensor_is_guessed_to() -> None:
    given = {"x": torch.ones(2, 2, 4, 4)}
    assert isinstance(likely_answer(wuerstchen_prior().prior, given), torch.Tensor)
    assert likely_answer(unclip().decoder, given).sample.shape[0] == 2
