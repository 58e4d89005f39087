"""The number of processes may change between two starts of a run; benchmarks/elastic.py has the engine."""

from __future__ import annotations

from pathlib import Path

from benchmarks.elastic import Run, by


def test_stopped_on_four_and_gone_on_with_by_two_and_four(tmp_path: Path) -> None:
    run = Run(tmp_path, batch=8)
    run("one", steps=6)
    assert by(4, lambda: run("changing", steps=6, stopped_in=2)) == [130] * 4
    assert by(2, lambda: run("changing", steps=6, stopped_in=2)) == [130] * 2
    assert by(4, lambda: run("changing", steps=6)) == [0] * 4
    found = run.compared("one", "changing", steps=6)
    assert found["steps"] == [1, 2, 3, 4, 5, 6] and found["same_draws"]
    assert found["loss"] < 1e-4  # float32, summed in another order; seen: below 1e-6
    assert found["weights"] < 4e-4  # an update of Adam has the size of the rate even where a gradient is ~0
