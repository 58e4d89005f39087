"""A video made section by section: x_0 and what is bound to it are of one section, the first."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from condistill.errors import UserError
from condistill.teacher.sections import Sections
from condistill.teacher.shadowing import shadowed
from tests.contract import battery
from tests.tiny.catalogue import catalogue

STEPS = 3
LONGER: dict[str, dict[str, Any]] = {
    "hunyuan-framepack": {"num_frames": 18},
    "helios": {"num_frames": 18},
    "skyreels-v2-forcing": {"num_frames": 17, "base_num_frames": 9, "overlap_history": 5},
    "ltx-long-multi-prompt": {"num_frames": 25, "temporal_tile_size": 16, "temporal_overlap": 8},
}


@pytest.mark.parametrize("name", LONGER)
def test_x0_and_its_bound_rows_are_of_the_first_section(name: str) -> None:
    case = catalogue()[name]
    call = {**case.call(), **LONGER[name], "num_inference_steps": STEPS}
    teacher = battery.recorded(case).with_call(call, [case.keys[0]])
    cls, outs = type(teacher.scheduler), []
    real = cls.step

    @functools.wraps(real)
    def step(*args: Any, **kwargs: Any) -> Any:
        outs.append(real(*args, **kwargs))
        return outs[-1]

    given: list[dict[str, Any]] = []
    seen = teacher.network.register_forward_pre_hook(lambda _, args, kwargs: given.append(kwargs), with_kwargs=True)
    with shadowed(cls, "step", step):
        only = teacher.sample([case.keys[0]], seed=3, call=call, output="latent")
        num_outs, first = len(outs), given[0]
        whole = teacher.sample([case.keys[0]], seed=3, call=call)
    seen.remove()
    assert len(outs) - num_outs > num_outs, "for D the later sections are not made"
    assert torch.equal(only.latents, whole.latents)
    for path, rows in {**teacher.encode([case.keys[0]]).bound, **only.bound}.items():
        if path in first:
            torch.testing.assert_close(rows[0], first[path][-1].float())
    # by value: a view may have moved the axes; where frames are stepped one by one, the last steps make the rest
    made = torch.cat([out[0].flatten() for out in outs[:num_outs]])
    assert bool(torch.isin(only.latents, made).all())


def test_a_loop_that_returns_to_its_first_time_begins_anew() -> None:
    def run(*times: float, called: bool = True, grows: bool = False) -> tuple[list[bool], float | None]:
        sections, over, back = Sections(), [], None
        for k, time in enumerate(times):
            over.append(sections.is_over(time, called=called))
            back = back if over[-1] else sections.step(time, (4 + 4 * (grows and k > 2),))
        return over, back

    assert run(9, 5, 1, 9, 5) == ([False, False, False, True, True], None)
    assert run(1, 5, 9, 1)[0][-1]  # a scheduler that counts upwards
    assert not any(run(9, 5, 9, called=False)[0])
    assert run(9, 9, 5, 5, 1) == ([False] * 5, None)  # two calls a step: parts of a panorama, Heun's method
    assert run(9, 5, 1, 7, 3, grows=True) == ([False] * 5, 7)
    assert run(9, 5, 7, 3, 5) == ([False] * 5, None)  # an ancestral sampler of second order


def test_stages_that_grow_are_refused() -> None:
    with pytest.raises(UserError, match="sample in stages"):
        battery.recorded(catalogue()["helios-pyramid"])
