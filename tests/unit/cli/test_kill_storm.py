"""The short kill storm; benchmarks/kill_storm.py is the long one, and this uses its engine."""

from __future__ import annotations

import random
import time
from pathlib import Path

from benchmarks.kill_storm import Storm, contents, items
from tests.unit.cli.conftest import Cli, written


def test_killed_again_and_again_the_run_is_the_same(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    train = "{steps: 6, batch: 2, micro_batch: 1, checkpoint_every: 2, log_every: 3, lr: 1.0e-2, ema: 0.9}"
    file = written(tmp_path, pipeline, compare="{}", evaluate="null", train=train)
    assert cli("train", file, "--out", "whole").code == 0
    prompts = tmp_path / "p.txt"
    prompts.write_text("".join(f"a cat {k}\n" for k in range(6)), encoding="utf-8")
    asked = ["evaluate", pipeline, "--prompts", prompts, "--protocol", "plain", "--steps", "2", "--batch", "1", "--out"]
    begun = time.monotonic()
    assert cli(*asked, "whole-scores").code == 0
    took = time.monotonic() - begun
    storm = Storm(random.Random(0), longest=2.0, log=tmp_path / "commands.log", fresh=0.0, asked=0.25)
    for verb in ("cache", "train"):
        storm.until_done([verb, str(file), "--out", "killed"], least=2)
    assert storm.counts["SIGKILL"] >= 2
    storm.until_done([str(word) for word in [*asked, "killed-scores"]], least=2, soon=took / 4)
    assert sum(count for name, count in storm.counts.items() if name.endswith(" in evaluate")) >= 1
    assert contents(tmp_path / "killed-scores") == contents(tmp_path / "whole-scores")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert items(tmp_path / "killed" / "cache") == [0, 1, 2, 3]
