"""What a grid's cells come to over seeds."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence

import pytest

from condistill.errors import UserError
from condistill.evaluate.ablation import Ablation, CellResult, over_seeds
from condistill.evaluate.ablation_table import markdown
from condistill.evaluate.results import ModelResult, Score

TEACHER = ModelResult("teacher", {"seen": {"gap": Score(0.0, 0.0, 0.0, 8)}})


def model(value: float) -> ModelResult:
    levels = tuple({"u": u, "value": value * u, "low": 0.0, "high": 1.0} for u in (0.25, 0.75))
    return ModelResult("student", {"seen": {"gap": Score(value, value, value, 8, levels)}}, parameters=7)


def cell(name: str, seed: int, value: float | None) -> CellResult:
    return CellResult(f"{name}-{seed}", {"p": name}, seed, () if value is None else (model(value),))


def grid(values: dict[str, Sequence[float | None]]) -> Ablation:
    found = [cell(name, seed, value) for name, row in values.items() for seed, value in enumerate(row)]
    return Ablation("r", (), {"p": tuple(values)}, tuple(range(3)), tuple(found), TEACHER, {"name": "plain"})


def test_the_interval_is_students() -> None:
    spread = over_seeds([1.0, 2.0, 3.0])
    # by hand: t(0.975, 2) = 4.302653, standard deviation 1
    assert spread.mean == 2.0 and spread.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    assert over_seeds([2.0]) == over_seeds([2.0]) and over_seeds([2.0]).low is None
    same = over_seeds([0.5, 0.5])
    assert (same.low, same.mean, same.high) == (0.5, 0.5, 0.5)


def test_rows_and_differences_by_seed() -> None:
    found = grid({"never": [1.0, 2.0, 6.0], "always": [2.0, 3.0, 7.0]})
    assert [row.groups["seen"]["gap"].values for row in found.rows()] == [(1.0, 2.0, 6.0), (2.0, 3.0, 7.0)]
    assert [(u, spread.mean) for u, spread in found.rows()[0].by_time["seen"]["gap"]] == [(0.25, 0.75), (0.75, 2.25)]
    (difference,) = found.differences()
    spread = difference.groups["seen"]["gap"]
    # the seeds differ widely, their differences not at all
    assert (spread.low, spread.mean, spread.high) == (1.0, 1.0, 1.0) and difference.baseline == {"p": "never"}


def test_the_interval_of_a_share_ends_where_shares_do() -> None:
    found = dataclasses.replace(
        grid({"never": [0.0, 0.0, 0.1], "always": [0.7, 0.9, 1.0]}), protocol={"metrics": {"gap": {"unit": "share"}}}
    )
    never, always = (row.groups["seen"]["gap"] for row in found.rows())
    assert (never.low, always.high) == (0.0, 1.0)
    assert never.high is not None and always.low is not None and never.high < always.low < always.mean
    assert found.differences()[0].groups["seen"]["gap"].high == 1.0


def test_cells_that_are_missing_are_left_out_of_pairs() -> None:
    found = grid({"never": [1.0, None, None], "always": [3.0, 4.0, None], "linear": [None, 1.0, None]})
    assert [row.seeds for row in found.rows()] == [(0,), (0, 1), (1,)]
    (difference,) = found.differences()
    assert difference.groups["seen"]["gap"].values == (2.0,)


def test_it_is_written_and_read_equal() -> None:
    found = grid({"never": [1.0, 2.0, None], "always": [3.0, 4.0, 5.0]})
    obj = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Ablation.from_json(obj) == found and Ablation.from_json(obj).to_json() == found.to_json()
    assert obj["schema"] == 1 and obj["cells"][2]["done"] is False
    with pytest.raises(UserError, match="schema 2"):
        Ablation.from_json({**obj, "schema": 2})
    with pytest.raises(UserError, match="incomplete"):
        Ablation.from_json({"schema": 1})


def test_the_table() -> None:
    text = markdown(grid({"never": [1.0, 2.0, 3.0], "a|b": [3.0, None, None]}))
    assert text.splitlines() == [
        "| p | seeds | group | gap |",
        "|---|---|---|---|",
        "| teacher |  | seen | 0 |",
        "| never | 3 | seen | 2 [-0.484, 4.48] |",
        "| a\\|b | 1 | seen | 3 |",
        "",
        "Differences to p never, paired by seed:",
        "",
        "| p | seeds | group | gap |",
        "|---|---|---|---|",
        "| a\\|b | 1 | seen | 2 |",
    ]
    assert markdown(grid({"never": [None]})) == "No cell is done yet.\n"
