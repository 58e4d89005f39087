"""What recordings of video pipelines say, on made-up recordings: given frames, frames as rows, loops of two sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from condistill import Teacher, UserError
from condistill.teacher.keys import fillings
from condistill.teacher.noisy import check_given, find_noisy
from condistill.teacher.recording import Called, Recording, Watch
from condistill.teacher.steps import calls_at
from tests.tiny.catalogue import catalogue

VIDEO = torch.randn(2, 4, 3, 6, 6, generator=torch.Generator().manual_seed(0))  # (n, c, f, h, w)


def test_tokens_of_a_given_frame_may_stand_before_those_of_the_sample() -> None:
    tokens = VIDEO.permute(0, 2, 3, 4, 1).reshape(2, 108, 4)
    view, found = find_noisy({"x": tokens}, VIDEO[:, :, 1:], 2, "Net")
    noisy = found["x"]
    assert (noisy.shape, noisy.axis, noisy.start, noisy.total) == ((72, 4), 0, 36, 108)
    assert torch.equal(view(VIDEO[:, :, 1:], 2), tokens[:, 36:])
    assert torch.equal(noisy.filled(tokens[:, 36:], noisy.extra(tokens)), tokens)


def test_a_frame_may_be_given_in_the_place_of_the_samples() -> None:
    given = torch.cat([torch.ones(2, 4, 1, 6, 6), 0.5 * VIDEO[:, :, 1:]], dim=2)
    _, found = find_noisy({"text": torch.randn(2, 7, 8), "x": given}, VIDEO, 2, "Net")
    noisy = found["x"]
    assert noisy.given is not None and noisy.given[:, 0].all() and not noisy.given[:, 1:].any()
    x_t = torch.randn(2, 4, 3, 6, 6)
    filled = noisy.filled(x_t, noisy.extra(given))
    assert torch.equal(filled[:, :, 0], given[:, :, 0]) and torch.equal(filled[:, :, 1:], x_t[:, :, 1:])


def test_what_is_given_in_its_place_must_not_change_from_step_to_step() -> None:
    steps = [torch.cat([k * torch.ones(2, 4, 1, 6, 6), VIDEO[:, :, 1:]], dim=2) for k in (1.0, 2.0)]
    _, found = find_noisy({"x": steps[0]}, VIDEO, 2, "Net")
    check_given(found, [{"x": steps[0]}, {"x": steps[0]}], "Net")
    with pytest.raises(UserError, match="in place of x_t in argument 'x' of Net changes"):
        check_given(found, [{"x": one} for one in steps], "Net")


def test_more_may_stand_along_two_axes() -> None:
    whole = torch.randn(2, 9, 4, 6, 6)
    whole[:, :4, 1:] = 2.0 * VIDEO
    _, found = find_noisy({"x": whole}, VIDEO, 2, "Net")
    noisy = found["x"]
    assert noisy.corner == (0, 1, 0, 0) and noisy.shape == (4, 3, 6, 6)
    assert torch.equal(noisy.filled(whole[:, :4, 1:], noisy.extra(whole)), whole)
    assert noisy.cropped(torch.zeros(2, 4, 4, 6, 6)).shape == (2, 4, 3, 6, 6)


def test_a_scaled_sample_with_a_noisy_given_frame_is_found() -> None:
    given = torch.cat([torch.randn(2, 4, 1, 6, 6), 0.3 * VIDEO[:, :, 1:]], dim=2)
    _, found = find_noisy({"x": given}, VIDEO, 2, "Net")
    mask = found["x"].given
    assert mask is not None and mask[:, 0].all() and not mask[:, 1:].any()
    noisy = given.clone()
    noisy[:, :, 0] += 0.01
    check_given(found, [{"x": given}, {"x": noisy}], "Net")


def test_a_number_of_frames_is_no_video() -> None:
    class Pipeline:
        def __call__(self, image: Any = None, height: int = 480, width: int = 832, frames: int = 81) -> None:
            """Nothing."""

    network: Any = SimpleNamespace(config={})
    tried = list(fillings(Pipeline(), network, {}, small_first=True))
    assert all(isinstance(one.get("frames", 0), int) for one in tried) and tried[0]["frames"] == 9


def test_a_network_beside_it_may_see_every_frame_as_a_row() -> None:
    rows = VIDEO.transpose(1, 2).flatten(0, 1)
    _, found = find_noisy({"x": VIDEO, "controlnet:x": rows}, VIDEO, 2, "Net")
    assert found["controlnet:x"].frames == 1
    assert torch.equal(found["controlnet:x"].filled(VIDEO, None), rows)


def test_a_loop_that_steps_twice_for_a_call_or_goes_on_at_another_size_is_followed() -> None:
    def call(step: int, size: int) -> Called:
        return Called(step, {"x": torch.zeros(1, size), "t": step})

    recording = Recording(
        calls=[call(0, 4), call(2, 4), call(4, 5)], upstream=[{}, {}, {}], times=[9.0, 9.0, 7.0, 7.0, 5.0]
    )
    calls, times = calls_at(recording, 0, frozenset(), "x")
    assert [one["t"] for one in calls] == [0, 2] and times == [9.0, 7.0]


def test_blanks_have_the_shape_of_what_is_asked() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    net = Net()
    answer = Watch("zeros").forward(net)
    assert [tuple(answer(torch.ones(b, 3, 4)).shape) for b in (2, 5, 2)] == [(2, 3, 4), (5, 3, 4), (2, 3, 4)]


def test_with_pictures_of_our_own_as_keys_small_sizes_come_first() -> None:
    class Pipeline:
        vae_scale_factor = 2

        def __call__(self, image: Any, height: int = 576, width: int = 1024) -> None:
            """Nothing."""

    network: Any = SimpleNamespace(config={"sample_size": 8})
    sizes = [one.get("height") for one in fillings(Pipeline(), network, {"image": None}, ours=True)]
    assert sizes[0] == 16 and sizes[-1] is None
    assert next(iter(fillings(Pipeline(), network, {"image": None}))) == {}


def test_a_seed_of_the_pipelines_own_does_not_replace_the_items_generators() -> None:
    case = catalogue()["ltx-long-multi-prompt"]
    teacher = Teacher.from_pipeline(case.build(), call=case.call())
    found = teacher.sample(["a", "a"], seed=[1, 2], call={"num_inference_steps": 2, **case.call()}, output="latent")
    assert not torch.equal(found.latents[0], found.latents[1])


def test_a_picture_that_is_not_repeated_for_every_item_makes_it_one_at_a_time() -> None:
    case = catalogue()["i2vgen-xl"]
    teacher = Teacher.from_pipeline(case.build(), call=case.call())
    assert teacher.calibration.runner.single and "image_latents" in teacher.calibration.bound


def test_noise_on_a_picture_does_not_depend_on_its_place_in_the_batch() -> None:
    case = catalogue()["stable-video-diffusion"]
    teacher = Teacher.from_pipeline(case.build(), call=case.call(), keys=case.keys)
    other = Teacher.from_pipeline(case.build(), call=case.call(), keys=case.keys)
    together, single = teacher.encode(list(case.keys[:2])), other.encode([case.keys[1]])
    torch.testing.assert_close(together.leaves["sample+"][1:], single.leaves["sample+"], rtol=1e-4, atol=1e-5)
