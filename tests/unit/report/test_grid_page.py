"""The page of a grid: complete in itself, escaped, with every mean and interval."""

from __future__ import annotations

from pathlib import Path

import pytest

from condistill.evaluate.ablation import Ablation, CellResult
from condistill.evaluate.results import ModelResult, Score
from condistill.files import write_json
from condistill.report import report
from tests.unit.report.test_report import EVIL, Page

METRICS = {
    "concept_accuracy": {"label": "Concept accuracy", "unit": "share", "higher_is_better": True, "description": "d"},
    "kd_gap": {"label": "KD gap", "unit": "squared error", "higher_is_better": False, "description": "d"},
}


def scored(accuracy: float, gap: float) -> dict:
    levels = tuple({"u": u, "value": gap * u, "low": 0.0, "high": 1.0} for u in (0.25, 0.75))
    scores = {"concept_accuracy": Score(accuracy, 0, 1, 8), "kd_gap": Score(gap, 0, 1, 8, levels)}
    return {"seen": scores, "unseen": scores}


def grid(seeds: int) -> Ablation:
    cells = [
        CellResult(
            f"{k}-{seed}", {"p_random": name}, seed, (ModelResult("student", scored(accuracy + seed / 100, 0.5)),)
        )
        for k, (name, accuracy) in enumerate({"never": 0.1, EVIL: 0.9}.items())
        for seed in range(seeds)
    ]
    teacher = ModelResult("teacher", scored(1.0, 0.0))
    axes = {"p_random": ("never", EVIL)}
    return Ablation(
        "mine", ("train.steps=3",), axes, tuple(range(seeds)), tuple(cells), teacher, {"metrics": METRICS}, ("cpu",)
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_it_shows_the_grid(seeds: int, tmp_path: Path) -> None:
    write_json(tmp_path / "ablation.json", grid(seeds).to_json())
    text = report(tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert EVIL not in text and EVIL in page.text and "script" not in page.tags
    assert page.tags.count("svg") == 4 and all(source.startswith(("data:", "#")) for source in page.sources)
    # by hand: the mean of three seeds, and Student's t with two degrees of freedom on a spread of 0.01
    assert ("+80 points" in page.text) and (seeds == 1 or "88.5 to 93.5 %" in page.text)
    assert "train.steps=3" in page.text and f"{2 * seeds} of {2 * seeds} cells" in page.text


def test_a_grid_of_which_nothing_is_done_has_a_page(tmp_path: Path) -> None:
    empty = Ablation("mine", (), {"p_random": ("never",)}, (0,), (CellResult("a", {"p_random": "never"}, 0),))
    write_json(tmp_path / "ablation.json", empty.to_json())
    assert "0 of 1 cells" in Page(report(tmp_path).read_text(encoding="utf-8")).text
