"""The plain loop is honest: it reaches our losses; and the bench measures every size where there is no GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from condistill import UserError
from condistill.bench import SIZES, bench, comparing
from condistill.bench.clock import Clock
from condistill.bench.comparing import variants
from condistill.bench.setting import Setting, setting
from condistill.cli.main import main
from condistill.train.log import Log
from condistill.train.options import TrainOptions


def test_the_plain_loop_reaches_our_losses(tmp_path: Path) -> None:
    """In float32 both compute the same, in another order of additions: 1e-4 after 12 steps, seen 1e-6."""
    found = setting(SIZES["mmdit"], tmp_path, tiny=True, device=torch.device("cpu"), batch=4)
    student = found.student("depth=0.5")
    run, plain = found.run([student], "ours", 1), found.plain_loop(student, Clock(found.device))
    theirs = [plain.step(found.given(step)) for step in range(12)]
    run.advance(13)  # a step's line is written when the step after it begins
    run.end()
    ours = [row["loss"] for row in Log(tmp_path / "ours" / "log.jsonl").rows() if row["event"] == "step"]
    assert ours == pytest.approx(theirs, rel=1e-4) and ours[-1] != ours[0]


def test_bench_measures_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    asked = ["bench", "--size", "mmdit", "--tiny", "--steps", "1", "--repeats", "1", "--batch", "2"]
    assert main([*asked, "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(out.read_text())
    for loop in ("plain", "ours"):
        parts = found["training"][loop]["parts"]
        assert {"encode", "teacher", "student forward", "backward", "optimiser", "ema", "logging"} <= set(parts)
        assert sum(parts.values()) == pytest.approx(1.0, abs=0.05)
        assert found["training"][loop]["flops_per_sample"] > 0
    assert found["training"]["ours"]["difference_of_losses"] < 1e-4
    assert found["training"]["ours"]["ratio"]["wall"]["n"] == 1
    assert found["three_students"]["share_of_time"]["processor"]["median"] > 0
    assert found["three_students"]["options"] == {}  # of this size there is no other variant
    assert found["making_d"]["ratio"]["processor"]["n"] == 1


def test_three_students_that_do_not_fit_leave_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    def refused(*_: object) -> None:
        raise UserError("bad spec")

    given = Setting(SIZES["sdxl"], None, Path(), (), None, TrainOptions(steps=1), {})
    monkeypatch.setattr(comparing, "_together", full)
    found = comparing._three(given, 1, 1)
    assert found["share_of_time"] is None and found["not_measured"].startswith("CUDA out of memory")
    monkeypatch.setattr(comparing, "_together", refused)
    with pytest.raises(UserError, match="bad spec"):
        comparing._three(given, 1, 1)


def test_losses_are_compared_block_by_block(capsys: pytest.CaptureFixture[str]) -> None:
    """Both loops in float32: 1e-4, as above."""
    assert main(["bench", "--size", "mmdit", "--tiny", "--losses", "20", "--batch", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 20 and len(found["training"]["plain"]["losses"]) == 2
    assert found["training"]["ours"]["difference"] < 1e-4 and abs(found["training"]["ours"]["last"]) < 1e-4


def test_compiled_is_one_more_of_ours() -> None:
    assert list(variants(SIZES["world"], compiled=False)) == ["ours", "bf16"]
    told = variants(SIZES["world"], compiled=True)["bf16 compiled"]
    assert told == {"precision": "bf16", "compile": True}


def test_a_size_that_wants_a_gpu_is_refused_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--tiny"):
        bench("sdxl")


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(UserError, match="did you mean 'sdxl'"):
        bench("sdlx")
