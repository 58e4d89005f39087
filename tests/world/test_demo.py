"""The demo's story, much shortened: every stage runs on the embedded teacher and the contract's files are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from condistill.cli import main

SHORT = [
    "data.num_items=8",
    "data.call={num_inference_steps: 2, guidance_scale: 2.0}",
    "train.steps=2",
    "train.batch=8",
    "evaluate.num_items={seen: 4, unseen: 4}",
    "evaluate.call={num_inference_steps: 2, guidance_scale: 2.0}",
]


@pytest.mark.slow
def test_the_demo_from_nothing_to_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), *SHORT]) == 0
    said = capsys.readouterr()
    assert str(out / "report.html") in said.out and "making D: 8/8 images" in said.err
    results = json.loads((out / "results.json").read_text())
    assert results["schema"] == 1
    assert [model["name"] for model in results["models"]] == ["teacher", "without", "with"] or [
        model["name"] for model in results["models"]
    ] == ["teacher", "with", "without"]
    for model in results["models"]:
        assert set(model["groups"]) == {"seen", "unseen", "all"}
        score = model["groups"]["unseen"]["concept_accuracy"]
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1 and score["n"] == 4
    keys = [json.loads(line)["key"] for line in (out / "cache" / "plan.jsonl").read_text().splitlines()]
    assert not any("panda" in key or "fox" in key for key in keys)
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 3 * 8 and "<script" not in page
    # again: nothing is made twice
    assert main(["demo", "--out", str(out), *SHORT]) == 0
    assert "done before" in capsys.readouterr().err


@pytest.mark.slow
def test_the_embedded_teacher_needs_diffusers_alone() -> None:
    from condistill.world import emoji

    code = (
        "import sys; sys.modules['condistill'] = None\n"
        "from diffusers import DiffusionPipeline\n"
        f"p = DiffusionPipeline.from_pretrained({str(emoji.folder())!r})\n"
        "print(p('a panda on a green background', num_inference_steps=2).images[0].size)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "(64, 64)" in done.stdout, done.stderr[-2000:]
