"""Parts of the sampler's own sample that are given and held: neither noised in training nor scored."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from condistill import Teacher
from condistill.errors import UserError
from condistill.teacher.held import held_places
from tests.contract import battery
from tests.tiny.catalogue import catalogue

# what is held in each: a frame's tokens; the second frame of a reference beside the video; ...
HELD = ("ltx-condition", "ltx2-condition", "ltx2-in-context", "ltx-long-multi-prompt")


@pytest.mark.parametrize("name", HELD)
def test_what_is_held_is_given_and_not_scored(name: str) -> None:
    case = catalogue()[name]
    teacher = battery.recorded(case)
    held, found = teacher.calibration.held, teacher.calibration
    assert held is not None and 0 < held.sum() < held.numel()
    x_t, t = battery.at(teacher, 1)
    condition = teacher.encode([case.keys[0]])
    arguments = teacher.arguments(x_t, t, condition)
    other = x_t.masked_fill(held, 7.0)
    for path, value in teacher.arguments(other, t, condition).items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, arguments[path]), path
    rows = condition.bound[f"{found.x_path}+"]
    mask = found.noisy[found.x_path].given
    assert mask is not None and bool(rows[:, mask].any())
    assert torch.equal(arguments[found.x_path][:, mask], rows[:, mask])
    # the denoiser is told that those parts have no noise
    times = next(value for path, value in arguments.items() if path in found.times and value.ndim > 1)
    assert torch.equal((times == 0).flatten(), mask.any(dim=-1).flatten())
    with torch.no_grad():
        answer = teacher.predict(x_t, t, condition)
    assert bool((answer[:, held] == 0).all()) and bool((answer[:, ~held] != 0).any())


def test_a_part_that_is_put_back_at_every_noise_level_is_an_x_t_like_any_other() -> None:
    case = catalogue()["sd-inpaint"]
    assert battery.recorded(case).calibration.held is None


def test_held_places_stand_still_whatever_the_answer() -> None:
    x = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(0))
    zeros = list(x[:1].expand(4, 2, 6).clone())
    ones = [one + k for k, one in enumerate(zeros)]
    assert held_places(zeros, ones) is None
    for k, one in enumerate(ones):
        one[:, 4:] = zeros[k][:, 4:]
    held = held_places(zeros, ones)
    assert held is not None and torch.equal(held[0], torch.arange(6) > 3)
    for k in range(4):  # now it moves
        ones[k][:, 4:] = zeros[k][:, 4:] = x[k][:, 4:]
    assert held_places(zeros, ones) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [("ltx-long-multi-prompt", "strength of 1"), ("ltx-condition", "affine map"), ("ltx2-condition", "strength of 1")],
)
def test_a_part_with_less_noise_than_the_rest_is_refused(name: str, words: str) -> None:
    case = catalogue()[name]
    call = case.call()
    if "conditions" in call:
        call["conditions"] = [dataclasses.replace(one, strength=0.5) for one in call["conditions"]]
    else:
        call["cond_strength" if "cond_strength" in call else "strength"] = 0.5
    with pytest.raises(UserError, match=words):
        Teacher.from_pipeline(case.build(), call=call)
