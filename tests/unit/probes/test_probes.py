"""Every probe of the folder on the exact world, whose answers are known, and on a pipeline with pictures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from condistill import Teacher, UserError
from condistill.probes import ask, probe, probe_names
from condistill.probes.asking import sampled
from condistill.probes.kinds.condition_sensitivity import sensitivity
from condistill.teacher.switching import Switched
from condistill.world import exact
from tests import tiny
from tests.tiny.catalogue import catalogue

KEYS = exact.prompts("all", num_concepts=6)
CALL = {"num_inference_steps": 5}


@pytest.fixture(scope="module")
def pictured() -> Teacher:
    return Teacher.from_pipeline(tiny.sd())


@pytest.mark.parametrize("name", probe_names())
def test_every_probe_answers_and_writes(name: str, teacher: Teacher, tmp_path: Path) -> None:
    asked: Any = {"probes": [name], "num_keys": 4, "num_samples": 3, "call": CALL, "progress": False}
    found = ask(teacher, KEYS, **asked, out=tmp_path)[name]
    record = json.loads((tmp_path / name / "probe.json").read_text())
    assert record["schema"] == 1 and record["probe"] == name and record["found"] == dict(found.values)
    assert record["protocol"]["n"] == {"keys": 4, "samples": 3} and len(set(record["protocol"]["keys"])) == 4
    charts = sorted(path.name for path in (tmp_path / name).glob("chart-*.png"))
    assert charts == [f"chart-{k}.png" for k in range(len(found.charts))] and charts
    assert ask(teacher, KEYS, **asked)[name].values == found.values
    assert len({len(row) for row in found.table}) == 1


def test_mistakes_are_named(teacher: Teacher) -> None:
    with pytest.raises(UserError, match="unknown probe 'merge'"):
        ask(teacher, KEYS, probes=["merge"], progress=False)
    with pytest.raises(UserError, match="two different prompts or more, got 1"):
        ask(teacher, ["gaussian 1", "gaussian 1"], probes=["merging"], progress=False)
    with pytest.raises(UserError, match="could not be imported"):
        probe("my_lab.no_such")
    with pytest.raises(UserError, match="must have name"):
        probe("json.JSONDecoder")
    with pytest.raises(UserError, match="two samples a key"):
        ask(teacher, KEYS, probes=["merging"], num_samples=1, call=CALL, progress=False)


def test_the_decided_part_rises_from_nothing_to_all(teacher: Teacher) -> None:
    found = ask(teacher, KEYS, probes=["condition_sensitivity"], call=CALL, progress=False)["condition_sensitivity"]
    decided = [row["decided"] for row in found.values["spaces"]["x0"]]
    assert decided[0] < 0.01 and decided[-1] > 0.99 and decided == sorted(decided)


def test_noised_gaussians_merge_as_they_must(teacher: Teacher) -> None:
    asked: Any = {"probes": ["merging"], "num_keys": 6, "num_samples": 30, "progress": False}
    found = ask(teacher, KEYS, **asked)["merging"].values
    levels = found["levels"]
    assert found["chance"] == pytest.approx(1 / 6)
    # the circle of means has a radius of ten spreads, and at pure noise alpha is 0.07: a radius of 0.14 sigma
    assert levels[0]["right"] > 0.999 and levels[-1]["right"] == pytest.approx(1 / 6, abs=0.02)
    right = [level["right"] for level in levels]
    assert all(b < a + 0.02 for a, b in itertools.pairwise(right))
    means: Any = teacher.network.means
    between = float(means.var(dim=0).mean())
    assert levels[0]["share"] == pytest.approx(between / (between + 0.2**2), rel=0.05)


def test_a_switch_at_either_end_is_one_condition_alone(teacher: Teacher, pictured: Teacher) -> None:
    guided = {"num_inference_steps": 3, "guidance_scale": 3.0}
    for one, (a, b), call in (
        (teacher, ("gaussian 0", "gaussian 1"), {"num_inference_steps": 3}),
        (pictured, ("a fox", "a much longer text about a house"), guided),
        (pictured, ("a fox", "a house"), {**guided, "guidance_scale": 1.0}),
    ):
        switched = Switched(one, b, seed=5, call=call)
        assert len(switched.times) == 3 and switched.times == sorted(switched.times, reverse=True)
        before = one.network.forward
        made = [switched.sample(a, after=k, output="latent").latents for k in range(4)]
        assert one.network.forward == before
        alone = [one.sample([key], seed=[5], call=call, output="latent").latents for key in (b, a)]
        assert torch.equal(made[0], alone[0]) and torch.equal(made[3], alone[1])
        assert not torch.equal(made[1], made[0]) and not torch.equal(made[2], made[1])


@pytest.mark.parametrize("name", ["flux-fill", "unclip-stable"])
def test_packed_latents_and_conditions_with_noise_of_their_own(name: str) -> None:
    case = catalogue()[name]
    call = {**case.call(), "num_inference_steps": 3}
    one = Teacher.from_pipeline(case.build(), case.component, call=call)
    a, b = case.keys[:2]
    levels = sensitivity(one, sampled(one, [a, b], 1, seed=0, call=call, advance=lambda n: None).first(), num_levels=3)
    assert all(0 < float(level.over_conditions["x0"].mean()) < float("inf") for level in levels[1:])
    made = Switched(one, b, seed=5, call=call).sample(a, after=0, output="latent").latents
    assert torch.equal(made, one.sample([b], seed=[5], call=call, output="latent").latents)


def test_a_condition_that_takes_another_way_too_is_refused() -> None:
    case = catalogue()["sd-controlnet"]
    with pytest.raises(UserError, match="controlnet too"):
        Switched(Teacher.from_pipeline(case.build()), "a fox", call={**case.call(), "num_inference_steps": 2})


def test_pictures_are_a_grid(pictured: Teacher, tmp_path: Path) -> None:
    call = {"num_inference_steps": 2, "guidance_scale": 2.0}
    asked: Any = {"num_keys": 4, "num_samples": 1, "call": call, "out": tmp_path, "progress": False}
    found = ask(pictured, ["a fox", "a house", "the sea", "two dogs"], probes=["swap_at"], **asked)["swap_at"]
    assert found.pictures is not None and len(found.pictures.rows) == 2
    assert {images.shape[0] for images in found.pictures.rows.values()} == {len(found.pictures.columns)}
    assert (tmp_path / "swap_at" / "pictures.png").stat().st_size > 1000
    assert [(pair["kept"][0], pair["kept"][-1]) for pair in found.values["pairs"]] == [(0.0, 1.0), (0.0, 1.0)]


def test_samples_of_a_key_do_not_depend_on_the_others(teacher: Teacher) -> None:
    two, three = (sampled(teacher, KEYS[:n], 2, seed=0, call=CALL, advance=lambda n: None).latents for n in (2, 3))
    assert torch.equal(two, three[:2])
