"""p(u) measured on the teacher: its limits, its resume, and that it teaches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condistill import Cache, Teacher, UserError
from condistill.maths.p_random import Auto, describe, p_random
from condistill.probes.kinds.condition_sensitivity import Level
from condistill.train.auto_p import p_of
from condistill.world import exact
from tests.unit.train.conftest import trained


def level(u: float, shared: float, rest: float) -> Level:
    return Level(0.0, u, {"x0": np.array([shared])}, {"x0": rest}, {"x0": shared})


def test_the_shares_are_neymans() -> None:
    levels = [level(0.0, 0.0, 1.0), level(0.5, 4.0, 1.0), level(1.0, 1.0, 0.0)]
    # by hand: 0, 2 / (2 + 1), 1, and between them linear
    assert p_of(levels)[::5] == pytest.approx((0.0, 1 / 3, 2 / 3, 5 / 6, 1.0), abs=1e-6)
    assert p_of(levels, power=2)[10] == pytest.approx(4 / 5)
    # an estimate below 0 is nothing, and a level without any number is left out
    assert p_of([level(0.0, -1e-9, 1.0), level(0.5, np.nan, 1.0), level(1.0, 1.0, 1.0)])[::10] == (0.0, 0.25, 0.5)
    with pytest.raises(UserError, match="could not be measured"):
        p_of([level(0.0, np.nan, 1.0), level(1.0, 1.0, 1.0)])


def test_it_has_no_values_before_it_is_measured() -> None:
    assert p_random("auto") == Auto() and p_random("auto:2") == Auto(power=2.0)
    with pytest.raises(UserError, match="before distill has measured it"):
        p_random("auto")(torch.tensor([0.5]))
    measured = Auto(values=(0.0, 0.5, 1.0))
    assert p_random(describe(measured)) == measured
    assert measured(torch.tensor([0.25])).item() == 0.25
    with pytest.raises(UserError, match="power > 0"):
        p_random("auto:0")


def curve(out: Path) -> Any:
    return json.loads((out / "log.jsonl").read_text().splitlines()[0])["p_random"]


def test_a_run_that_goes_on_keeps_what_its_log_has(exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path) -> None:
    whole = trained(exact_teacher, exact_cache, tmp_path / "whole", steps=4)
    trained(exact_teacher, exact_cache, tmp_path / "parts", steps=2)
    parts = trained(exact_teacher, exact_cache, tmp_path / "parts", steps=4)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name
    values = curve(tmp_path / "whole")["values"]
    assert len(values) == 21 and values[0] < 0.1 and values[-1] > 0.95 and values == sorted(values)
    # as on a device whose last bits are others: the first start counts
    log = tmp_path / "parts" / "log.jsonl"
    log.write_text(log.read_text().replace(str(values[3]), "0.123456"))
    with pytest.raises(UserError, match="other settings"):
        trained(exact_teacher, exact_cache, tmp_path / "parts", steps=6)
    with pytest.raises(UserError, match=r"p_random.power: 1.0 -> 2.0"):
        trained(exact_teacher, exact_cache, tmp_path / "whole", steps=6, p_random="auto:2")


@pytest.mark.slow
def test_it_teaches_concepts_without_images(exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path) -> None:
    """Five-fold is asserted; seen over seeds 0 to 2 on one core: 2.9 to 5.2 without, 0.05 to 0.08 with."""
    keys = [key for key in exact.prompts("unseen", num_concepts=6) for _ in range(32)]
    wanted = exact_teacher.sample(keys, seed=99, output="latent", batch=len(keys)).latents
    far = {}
    for p in ("never", "auto"):
        options: dict[str, Any] = {"batch": 64, "lr": 1e-2, "lr_schedule": "cosine", "log_every": 100}
        student = trained(exact_teacher, exact_cache, tmp_path / p, steps=400, p_random=p, **options)
        got = student.sample(keys, seed=99, output="latent", batch=len(keys)).latents
        far[p] = float((got - wanted).norm(dim=1).mean())
    assert far["auto"] < far["never"] / 5
