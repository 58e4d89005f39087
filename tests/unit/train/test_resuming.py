"""Going on: after a kill between log and checkpoint, after a stop between two lines, with damaged checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from condistill import Cache, Teacher, UserError
from condistill.train import loop
from condistill.train.optim import restore_scaler, scaler_tensors
from condistill.train.state import load_newest, save_checkpoint, steps_saved
from tests.unit.train.conftest import trained


def rows(out: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    found = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")} for row in found]


def same(a: Teacher, b: Teacher) -> bool:
    other = b.network.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.network.state_dict().items())


def stopped_after(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGUSR1, times: int = 1) -> None:
    """Sends this process a signal, once the step is being done."""
    ask, asked = loop.learning_rate, []

    def learning_rate(at: int, options: Any) -> float:
        if at == step - 1 and not asked:
            asked.append(at)
            for _ in range(times):
                os.kill(os.getpid(), number)
        return ask(at, options)

    monkeypatch.setattr(loop, "learning_rate", learning_rate)


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGUSR1, 2), (signal.SIGTERM, 2), (signal.SIGINT, 1)], ids=["usr1", "term", "int"]
)
def test_stopped_between_two_lines_of_the_log_nothing_differs(
    exact_teacher: Teacher,
    exact_cache: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    times: int,
) -> None:
    options: dict[str, Any] = {"steps": 8, "log_every": 4, "micro_batch": 8, "swap": "gap", "ema": 0.9}
    whole = trained(exact_teacher, exact_cache, tmp_path / "whole", **options)
    with monkeypatch.context() as patched:
        stopped_after(3, patched, number, times)
        with pytest.raises(KeyboardInterrupt):
            trained(exact_teacher, exact_cache, tmp_path / "parts", **options)
    assert steps_saved(tmp_path / "parts" / "checkpoints") == [3]
    parts = trained(exact_teacher, exact_cache, tmp_path / "parts", **options)
    assert same(whole, parts) and rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert [row["step"] for row in rows(tmp_path / "parts")] == [0, 4, 8, 8]
    assert not [path for path in (tmp_path / "parts").rglob("*") if path.name.startswith(".")]


def test_killed_before_the_first_checkpoint_it_starts_again(
    exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path
) -> None:
    whole = trained(exact_teacher, exact_cache, tmp_path / "whole", steps=2)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "checkpoints")
    shutil.rmtree(tmp_path / "killed" / "student")
    assert same(whole, trained(exact_teacher, exact_cache, tmp_path / "killed", steps=2))
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")


def test_damaged_checkpoints(exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path) -> None:
    """The newest good one is used and kept; where none is good nothing is thrown away."""
    options: dict[str, Any] = {"checkpoint_every": 2, "keep_checkpoints": 1}
    trained(exact_teacher, exact_cache, tmp_path, steps=3, **options)
    folder = tmp_path / "checkpoints"
    assert steps_saved(folder) == [3]
    good = (folder / "step-00000003" / "state.json").read_text()
    shutil.copytree(folder / "step-00000003", folder / "step-00000009")
    with pytest.warns(UserWarning, match="step-00000009 is damaged and passed over: .*does not match its checksum"):
        trained(exact_teacher, exact_cache, tmp_path, steps=4, **options)
    assert steps_saved(folder) == [4]
    kept = folder / "step-00000004" / "state.json"
    kept.write_text(good.replace('"seconds": ', '"seconds": 9'))
    with (
        pytest.warns(UserWarning),
        pytest.raises(UserError, match=r"none of the 1 checkpoints .* nothing was overwritten"),
    ):
        trained(exact_teacher, exact_cache, tmp_path, steps=6, **options)
    assert kept.exists()


def test_what_a_kill_leaves_is_cleaned_up(tmp_path: Path) -> None:
    """A folder that was being written is none of the checkpoints."""
    tensors = {"part": {"x": torch.arange(3.0)}}
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, tensors, settings={}, seconds=1.0, keep=2)
    (tmp_path / ".step-00000004.1-0-0123abcd.89abcdef.part").mkdir()
    found = load_newest(tmp_path)
    assert found is not None and found.step == 3 and steps_saved(tmp_path) == [2, 3]
    assert torch.equal(dict(found.each("part"))["x"], torch.arange(3.0)) and found.tensors("other") == {}


def test_the_scale_of_half_precision_is_kept() -> None:
    one, other = (torch.amp.GradScaler("cpu", init_scale=scale) for scale in (8.0, 64.0))
    restore_scaler(other, scaler_tensors(one))
    assert other.state_dict() == one.state_dict()
    assert scaler_tensors(None) == {}
