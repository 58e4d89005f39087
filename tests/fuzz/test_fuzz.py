"""A few broken inputs for every parser; benchmarks/fuzz.py runs many."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz.targets import TARGETS, broken, run_one

MOST = 20  # inputs of a target with weight 1; together they take a few seconds


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.weight >= 0.1])
def test_broken_input_is_accepted_or_refused_with_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDISTILL_CACHE", str(tmp_path / "arrow"))
    target = TARGETS[name]
    seeds = target.prepare(tmp_path)
    assert run_one(target, tmp_path, seeds[0]) == "accepted"  # what is broken below is good to begin with
    for number in range(max(1, round(MOST * target.weight**2))):
        run_one(target, tmp_path, broken(target, seeds, Random(number)))
