"""`condistill ablate` on a tiny pipeline: the grid, its numbers, stopping, and sharing it between processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from condistill.cli import main
from tests.unit.cli.conftest import Cli, written
from tests.unit.cli.test_carrying_out import files

OVER = ("--over", "p_random=never,1.0", "--seeds", "2")
EVALUATE = (
    "{protocol: plain, prompts: {seen: [a cat], unseen: [a fly]}, call: {num_inference_steps: 2}, grid: 1, "
    "latency: false}"
)


TRAIN = "{steps: 8, batch: 2, checkpoint_every: 1, log_every: 1}"


def without_date(folder: Path) -> dict:
    found = json.loads((folder / "results.json").read_text())
    del found["protocol"]["created"], found["protocol"]["inputs"]
    return found


@pytest.fixture(scope="module")
def whole(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recipe and of its finished grid, made in one go."""
    folder = tmp_path_factory.mktemp("whole")
    file = written(folder, pipeline, evaluate=EVALUATE, train=TRAIN)
    assert main(["ablate", str(file), *OVER, "--out", str(folder / "grid")]) == 0
    return folder


def test_a_grid_and_then_nothing_more(cli: Cli, whole: Path) -> None:
    file, grid = whole / "tiny.yaml", whole / "grid"
    before = files(grid)
    said = cli("ablate", file, *OVER, "--out", grid, "--json")
    assert said.code == 0 and files(grid).keys() == before.keys() and "now" not in said.err
    found = json.loads(said.out)
    assert {k: v for k, v in found.items() if k != "folder"} == json.loads(before["ablation.json"])
    assert found["axes"] == {"p_random": ["never", "1.0"]} and found["seeds"] == [0, 1]
    assert [row["values"] for row in found["rows"]] == [{"p_random": "never"}, {"p_random": "1.0"}]
    spread = found["rows"][1]["groups"]["unseen"]["kd_gap"]
    assert len(spread["values"]) == 2 and spread["low"] <= spread["mean"] <= spread["high"]
    assert found["differences"][0]["baseline"] == {"p_random": "never"}
    assert all(cell["done"] for cell in found["cells"]) and not list((grid / "locks").iterdir())
    assert len(list((grid / "D").iterdir())) == 1 and not list(grid.rglob("checkpoints"))
    assert cli("ablate", file, *OVER, "--out", grid).out == (grid / "ablation.md").read_text()
    assert "another recipe (train.lr" in cli("ablate", file, *OVER, "train.lr=0.1", "--out", grid).error
    assert files(grid) == before


def test_a_cell_is_the_same_as_a_single_run(cli: Cli, whole: Path, tmp_path: Path) -> None:
    # the last cell of the grid, which found D and the teacher's samples made
    (cell,) = (whole / "grid" / "cells").glob("1.0*_seed-1")
    single = ("p_random=1.0", "train.seed=1", "student.seed=1", "compare={}", "name=student")
    assert cli("run", whole / "tiny.yaml", *single, "--out", "run").code == 0
    assert files(cell / "student") == files(tmp_path / "run" / "student")
    assert without_date(cell) == without_date(tmp_path / "run")
    # and the cell is a run folder like any other
    assert json.loads(cli("run", cell, "--json").out)["done_before"] == ["student", "evaluation"]


def test_a_cell_that_fails_does_not_stop_the_others(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    file = written(tmp_path, pipeline, evaluate=EVALUATE)
    said = cli("ablate", file, "--over", "train.lr=1.0e+30,1.0e-3", "--seeds", 1, "--out", "grid")
    assert said.error.startswith("1 of 2 cells could not be made") and "not finite" in said.error
    found = json.loads((tmp_path / "grid" / "ablation.json").read_text())
    assert [cell["done"] for cell in found["cells"]] == [False, True]


def test_a_wrong_grid_is_refused_and_nothing_is_begun(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    file = written(tmp_path, pipeline, evaluate=EVALUATE)
    for over, message in {
        "p_randon=a,b": "unknown key 'p_randon'",
        "p_random=never,sigmiod": "unknown p_random 'sigmiod'",
        "student=b-base,b-bass": "unknown student 'b-bass'",
        "evaluate.seed=1,2": "evaluate.seed cannot be swept; all cells are measured by one protocol",
    }.items():
        assert message in cli("ablate", file, "--over", over, "--out", "grid").error
    assert not (tmp_path / "grid").exists()


def test_cells_measured_by_another_protocol_are_refused(cli: Cli, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "grid", tmp_path / "grid")
    changed = tmp_path / "grid" / "cells" / "never_seed-1" / "results.json"
    found = json.loads(changed.read_text())
    found["protocol"]["call"]["num_inference_steps"] = 3
    changed.write_text(json.dumps(found))
    assert "measured by different protocols" in cli("ablate", whole / "tiny.yaml", *OVER, "--out", "grid").error
    changed.unlink()
    assert cli("ablate", whole / "tiny.yaml", *OVER, "--out", "grid").code == 0


@pytest.mark.slow
def test_killed_and_then_shared_by_two(cli: Cli, whole: Path, tmp_path: Path) -> None:
    words = ("ablate", str(whole / "tiny.yaml"), *OVER[:2], "--seeds", "1", "--out", "grid")
    command = [sys.executable, "-m", "condistill.cli", *words]

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    first, log = started(), tmp_path / "grid" / "cells" / "never_seed-0" / "log.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and '"step": 2' in log.read_text()):
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    assert (tmp_path / "grid" / "locks" / "never_seed-0.lock").exists()
    second = started()
    third = cli(*words)
    _, err = second.communicate(timeout=120)
    assert third.code == 0 and second.returncode == 0, err
    made = [name for text in (third.err, err) for name in re.findall(r"now (\S+)", text)]
    cells = sorted((tmp_path / "grid" / "cells").iterdir())
    assert sorted(made) == [cell.name for cell in cells] and len(cells) == 2
    # nothing of it shows in the numbers
    for cell in cells:
        other = whole / "grid" / "cells" / cell.name
        assert files(cell / "student") == files(other / "student") and without_date(cell) == without_date(other)
        steps = [json.loads(line)["step"] for line in (cell / "log.jsonl").read_text().splitlines()]
        assert steps == [*range(9), 8]
