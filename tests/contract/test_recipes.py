"""A whole recipe, outlook to report, over other teachers than text to image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from condistill.cli.main import main
from tests.tiny.catalogue import catalogue

NAMES = (
    "audioldm2",  # sounds
    "cogvideox",  # videos
    "dit",  # class labels
    "hidream",  # keys of several lengths
    "sd-panorama",  # cannot be recorded at the size that it takes by itself
)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_from_outlook_to_report(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case = catalogue()[name]
    case.build().save_pretrained(tmp_path / "pipe")
    call = {"num_inference_steps": 2, **case.call()}
    recipe = {
        "teacher": {"load": str(tmp_path / "pipe"), "component": case.component},
        "student": {"spec": case.student, "init": "inherit"},
        "data": {"prompts": list(case.keys), "num_items": 2, "batch": 2, "call": call},
        "train": {"steps": 1, "batch": 2},
        "evaluate": {
            "protocol": "plain", "prompts": {"all": list(case.keys)}, "metrics": ["kd_gap"], "call": dict(call),
            "latency": False,
        },
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))

    assert main(["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]) == 0, capfd.readouterr().err
    results = json.loads((tmp_path / "run/results.json").read_text())
    student = next(model for model in results["models"] if model["name"] != "teacher")
    assert 0 < student["groups"]["all"]["kd_gap"]["value"] < 100
    shown = json.loads((tmp_path / "run/samples/index.json").read_text())
    assert all(len(files["all"]) == len(case.keys) for files in shown["models"].values())
    assert "</html>" in (tmp_path / "run/report.html").read_text()
