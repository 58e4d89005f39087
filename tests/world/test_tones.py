"""The embedded sounds: plain diffusers plays them, and the recipe runs from nothing to the report, much shortened."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np

from condistill.cli import main
from condistill.teacher import Teacher
from condistill.world import tones

MIB = 1024 * 1024
SHORT = [
    "data.num_items=8",
    "data.call={num_inference_steps: 2, guidance_scale: 1.0}",
    "train.steps=2",
    "train.batch=8",
    "evaluate.num_items={seen: 4, unseen: 4}",
    "evaluate.call={num_inference_steps: 2}",
    "evaluate.grid=2",
]


def test_everything_that_ships_is_small_and_has_a_card():
    files = [path for path in tones.folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8 * MIB
    assert (tones.folder() / "README.md") in files


def test_the_teacher_plays_what_it_is_asked():
    teacher = Teacher.load("tones")
    assert teacher.calibration.null_rows  # guidance has zeros in place of words, not an empty text
    prompts = tones.prompts()[5::24]  # every timbre once
    made = teacher.sample(prompts, seed=0, call=tones.default_call(), output="both", batch=len(prompts))
    assert made.images is not None
    judged = tones.judge()(made.images)
    asked = np.array([tones.parse(prompt) for prompt in prompts])
    # the card's accuracy is near 1; one miss of twelve is chance, three are not
    assert (judged.timbre == asked[:, 0]).sum() >= len(prompts) - 2
    assert (judged.pitch == asked[:, 1]).sum() >= len(prompts) - 1


def test_the_recipe_from_nothing_to_the_report(tmp_path: Path):
    out = tmp_path / "run"
    assert main(["run", "tones", "--out", str(out), *SHORT]) == 0
    results = json.loads((out / "results.json").read_text())
    assert {model["name"] for model in results["models"]} == {"teacher", "without", "with"}
    for model in results["models"]:
        assert set(model["groups"]["unseen"]) == {"concept_accuracy", "pitch_accuracy", "frechet_distance", "kd_gap"}
    keys = [json.loads(line)["key"] for line in (out / "cache" / "plan.jsonl").read_text().splitlines()]
    assert not any(timbre.name in key for key in keys for timbre in tones.TIMBRES if not timbre.seen)
    assert len(list((out / "samples").glob("*.wav"))) == 3 * 4
    assert (out / "report.html").read_text().count("data:audio/wav;base64") == 3 * 4


def test_a_sound_is_sampled_to_a_file(tmp_path: Path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a low horn playing a long note\n")
    words = ["sample", "tones", "--prompts", str(prompts), "--out", str(tmp_path / "out"), "--steps", "1"]
    assert main(words) == 0
    with wave.open(str(tmp_path / "out" / "000000.wav")) as sound:
        assert sound.getframerate() == 8000 and sound.getnframes() > sound.getframerate() / 10
    assert json.loads((tmp_path / "out" / "index.json").read_text())["images"][0]["file"] == "000000.wav"
