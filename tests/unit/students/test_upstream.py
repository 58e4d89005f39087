"""A ControlNet is cut along with the U-Net that it steers, and the student is fed by its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from condistill import Teacher, generate
from condistill.distill import Method, Pupil, distillation_step, draw
from condistill.errors import UserError
from condistill.maths.draws import numbers
from condistill.maths.p_random import p_random
from condistill.students.making import fit
from tests.tiny.control import CASES

STEERED = next(case for case in CASES if case.name == "sd-controlnet")


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.from_pipeline(STEERED.build(), call=STEERED.call())


@pytest.mark.parametrize("spec", ["b-base", "b-small", "depth=0.5"])
def test_every_output_of_the_cut_controlnet_is_that_of_a_layer_that_stays(teacher: Teacher, spec: str) -> None:
    student = teacher.student(spec)
    before, after = teacher.pipeline.controlnet, student.pipeline.controlnet
    # by hand: the input, then of each stage its first layer and its downsampler; two layers and one in the teacher
    for k, source in enumerate([0, 1, 3, 4, 6, 7, 9, 10]):
        assert torch.equal(after.controlnet_down_blocks[k].weight, before.controlnet_down_blocks[source].weight)
    assert len(after.controlnet_down_blocks) == 8
    plan = student.plan.upstream["controlnet"]  # type: ignore[union-attr]
    assert set(plan.origins) == set(after.state_dict()) and not plan.taps
    assert {origin.kind for origin in plan.origins.values()} == {"inherited"}
    source = plan.origins["down_blocks.1.attentions.0.norm.weight"].source
    assert source == "down_blocks.1.attentions.0.norm.weight"
    assert len(teacher.pipeline.controlnet.controlnet_down_blocks) == 12  # the teacher's own is as it was


def test_a_cut_that_only_the_unet_can_follow_is_refused(teacher: Teacher) -> None:
    with pytest.raises(UserError, match=r"a network under controlnet, .* give depth=0\.5"):
        teacher.student("width=0.5")


def test_a_step_asks_the_student_as_its_own_pipeline_does(teacher: Teacher, tmp_path: Path) -> None:
    cache = generate(
        teacher, ["a", "b"], out=tmp_path, call={**STEERED.call(), "num_inference_steps": 2}, progress=False
    )
    student, method = teacher.student("b-base"), Method(p_random=p_random(0.0), corpus=["a", "b"], p_null=0.0)
    batch = cache.read(torch.arange(2).numpy())
    drawn = draw(batch, numbers(0, 2), method, teacher.noise_path)
    pupil = Pupil(student.network, (), asker=student).eval()
    with torch.no_grad():
        terms = distillation_step(teacher, [pupil], batch, drawn, method=method, network=teacher.network)[0]
        x_t = teacher.noise_path.add_noise(batch.x0, drawn.eps, drawn.t)
        answers = [one.predict(x_t, drawn.t, one.encode(batch.keys, batch.bound)) for one in (teacher, student)]
    torch.testing.assert_close(terms.output, (answers[0] - answers[1]).square().flatten(1).mean(1))


def test_each_of_two_controlnets_is_cut_also_along_with_a_student_that_was_made_before_any_call() -> None:
    two = next(case for case in CASES if case.name == "sd-controlnet-two")
    teacher = Teacher.from_pipeline(two.build(), call=two.call())
    student = Teacher.from_pipeline(two.build()).student("b-base")
    assert not student.is_calibrated and not student.plan.upstream  # type: ignore[union-attr]
    fit(teacher, student)
    assert set(student.plan.upstream) == {"controlnet.nets.0", "controlnet.nets.1"}  # type: ignore[union-attr]
    nets = zip(teacher.pipeline.controlnet.nets, student.pipeline.controlnet.nets, strict=True)
    for before, after in nets:
        assert (len(before.controlnet_down_blocks), len(after.controlnet_down_blocks)) == (12, 8)
        assert torch.equal(after.controlnet_down_blocks[2].weight, before.controlnet_down_blocks[3].weight)
