"""Two samplers in one loop: what both step is one x_t, flat, and so is what the denoiser answers for it."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

from condistill import Teacher, UserError
from condistill.teacher.joint import shape_of, with_beside
from condistill.teacher.noisy import find_noisy
from condistill.teacher.parts import Beside
from condistill.teacher.recording import Recording
from condistill.teacher.taps import answer_of
from tests.tiny.catalogue import catalogue

VIDEO = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
SOUND = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))


def recording(sample: torch.Tensor, times: list[float]) -> Recording:
    return Recording(times=[9.0, 5.0], samples=[VIDEO, VIDEO], beside=Beside(None, sample, times))


def test_what_both_samplers_step_is_one_flat_x_t() -> None:
    leaves = {"video": VIDEO, "sound": torch.cat([SOUND, SOUND]), "text": torch.randn(2, 7, 8)}
    _, noisy = find_noisy({"video": VIDEO}, VIDEO, 2, "Net")
    view, found = with_beside(recording(SOUND, [9.0]), leaves, noisy, 2, "Net")
    assert view is not None and shape_of(found) == (6 * 4 + 5 * 3,)
    flat = torch.cat([VIDEO.flatten(1), view(SOUND, 2).flatten(1)], dim=1)
    assert torch.equal(found["video"].filled(flat, None), VIDEO)
    assert torch.equal(found["sound"].filled(flat, None), SOUND)


def test_a_sampler_of_another_stage_is_none_beside_it() -> None:
    _, noisy = find_noisy({"video": VIDEO}, VIDEO, 2, "Net")
    view, found = with_beside(recording(torch.randn(2, 9), [9.0]), {"video": VIDEO}, noisy, 2, "Net")
    assert view is None and found == noisy and shape_of(found) == (6, 4)


def test_samplers_at_different_times_are_refused() -> None:
    _, noisy = find_noisy({"video": VIDEO}, VIDEO, 2, "Net")
    with pytest.raises(UserError, match="two samplers step, each at times of its own"):
        with_beside(recording(SOUND, [8.0]), {"video": VIDEO, "sound": SOUND}, noisy, 2, "Net")


def test_an_answer_in_parts_is_kept_whole() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    assert answer_of((one, two)) == (one, two) == answer_of(OrderedDict(sample=one, sound=two))
    assert answer_of((one,)) is one and answer_of(one) is one
    assert torch.equal(answer_of([one, two]), torch.stack([one, two]))  # type: ignore[arg-type]


def test_video_and_sound_are_sampled_and_predicted_together() -> None:
    case = catalogue()["ltx2"]
    teacher = Teacher.from_pipeline(case.build(), call=case.call())
    found = teacher.sample(["a"], seed=[3], call={"num_inference_steps": 2, **case.call()}, output="latent")
    assert tuple(found.latents.shape) == (1, *teacher.latent_shape)
    x_t, t = torch.randn(1, *teacher.latent_shape), torch.tensor([500.0])
    condition = teacher.encode(["a"])
    with torch.no_grad():
        answer = teacher.predict(x_t, t, condition)
        x_t[:, -1] += 5.0  # the sound is heard by the video
        other = teacher.predict(x_t, t, condition)
    assert answer.shape == x_t.shape and not torch.equal(answer[:, 0], other[:, 0])
