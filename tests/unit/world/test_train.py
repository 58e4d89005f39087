"""The whole training, far too short to be any good: all stages run, the files are the same as those that ship."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusers import DiffusionPipeline

from condistill.world.emoji import judge, render, train


@pytest.mark.slow
@pytest.mark.skipif(not render.FONT.is_file() or not render.NAMES.is_file(), reason="no font")
def test_every_stage_runs_and_the_result_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    train.main(["--minutes", "0.02", "--size", "32", "--out", str(tmp_path), "--threads", "1"])
    assert "wrote" in capsys.readouterr().out
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    assert pipeline.unet.config.sample_size * pipeline.vae_scale_factor == 32
    judge.Judge.load(tmp_path / "pipeline" / "judge")
