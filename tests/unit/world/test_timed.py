"""Training for a given time: the learning rate's course, and going on after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condistill.world.emoji.timed import WARMUP_STEPS, Budget, lr_factor, train_timed


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_learning_rate_stays_between_zero_and_its_peak(step: int, spent: float):
    assert 0 <= lr_factor(step, spent) <= 1


def test_the_learning_rate_warms_up_stays_and_falls_to_zero():
    assert lr_factor(0, 0.0) == pytest.approx(1 / WARMUP_STEPS)
    assert lr_factor(WARMUP_STEPS, 0.4) == 1.0
    assert lr_factor(WARMUP_STEPS, 0.75) == pytest.approx(0.5)
    assert lr_factor(WARMUP_STEPS, 1.0) == pytest.approx(0.0)


def trained(state: Path, seconds: float) -> tuple[int, list[int], float]:
    """Counts up one weight; the steps in all, the step numbers seen, and the weight."""
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    seen: list[int] = []

    def step(number: int) -> dict[str, float]:
        seen.append(number)
        with torch.no_grad():
            layer.weight.add_(1.0)
        return {"loss": 0.0}

    budget = Budget(seconds=seconds, state=state, device=torch.device("cpu"))
    done = train_timed(step, budget, what="test", optimizer=optimizer, parts={"layer": layer}, images_per_step=1)
    return done, seen, layer.weight.item()


def test_a_stage_goes_on_where_it_stopped_and_is_not_repeated(tmp_path: Path):
    state = tmp_path / "layer.pt"
    first, _, _ = trained(state, 0.05)
    second, seen, weight = trained(state, 0.1)
    assert seen[0] == first and second == first + len(seen) and weight == second
    assert trained(state, 0.1) == (second, [], float(second))
