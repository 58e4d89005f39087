"""The real command line on a tiny pipeline: from a recipe to a student, stopped and continued, and its single steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, written
from tests.unit.train.test_tracking import Recorder, recorder

__all__ = ["recorder"]  # a fixture


def files(folder: Path) -> dict[str, bytes]:
    """Path -> contents of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_recipe_from_nothing_to_the_report_and_then_nothing_more(
    cli: Cli, pipeline: Path, tmp_path: Path, recorder: type[Recorder]
) -> None:
    file, shown = written(tmp_path, pipeline), ["train.validate_every=2", "train.trackers=recorder"]
    first = cli("run", file, *shown, "--out", "run", "--json")
    assert first.code == 0, first.err
    found = json.loads(first.out)
    assert [model["name"] for model in found["results"]["models"]] == ["teacher", "without", "with"]
    assert found["done_before"] == [] and found["seconds"] > 0
    run = tmp_path / "run"
    for name in ("recipe.yaml", "log.jsonl", "results.json", "report.html", "student/model_index.json", "cache"):
        assert (run / name).exists()
    for name in ("log.jsonl", "student/model_index.json"):
        assert (run / "compare" / "without" / name).is_file()
    assert "# chosen for speed" in (run / "recipe.yaml").read_text()
    rows = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    ended = [(row["what"], row["folder"], row["done"], row["total"]) for row in rows if row["event"] == "end"]
    assert ended[0] == ("making D", "run/cache", 4, 4) and ended[3][:2] == ("evaluating", "run")
    assert ended[1:3] == [("training", folder, 2, 2) for folder in ("run/compare/without", "run")]
    before = files(run)
    # both arms were looked at, on the evaluation's prompts, for which the teacher drew once
    index = json.loads(before["validation/index.json"])
    assert index == json.loads(before["compare/without/validation/index.json"]) and len(index["steps"]) == 1
    assert before["validation/teacher.npz"] == before["compare/without/validation/teacher.npz"]
    assert "While they were trained" in (run / "report.html").read_text()
    scores = [value for what, value in recorder.told if what == "log" and "evaluate/seen/kd_gap" in value[1]]
    assert [step for step, _ in scores] == [3, 3]  # two steps each
    second = cli("run", file, *shown, "--out", "run", "--json")
    assert second.code == 0 and files(run) == before
    assert json.loads(second.out)["done_before"] == ["student without", "student with", "evaluation", "report"]
    third = cli("run", "run")  # the folder knows its recipe
    assert third.code == 0 and files(run) == before
    assert "kd_gap" in third.out and "run/report.html" in third.out


def test_from_a_pipeline_folder_to_a_student_in_one_command(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("a cat\na dog\na cow\na fly\n")
    # the README's, and small
    asked = [f"teacher={pipeline}", "data.prompts=captions.txt", "data.corpus=null", "evaluate=null"]
    small = ["train.steps=1", "train.batch=2", "train.micro_batch=null", "data.num_items=null"]
    small += ["data.call={num_inference_steps: 2}", "train.precision=no", "train.teacher_precision=no"]
    said = cli("run", "sd14-b-base", *asked, *small, "--out", "mine", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["students"] == {"student": "mine/student"}
    assert (tmp_path / "mine/student/unet/config.json").is_file() and (tmp_path / "mine/report.html").is_file()


def test_single_stages_and_more_steps(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    file = written(tmp_path, pipeline, compare="{}", evaluate="null")
    said = cli("cache", file, "--out", "run", "--json")
    assert said.code == 0 and json.loads(said.out) == {"folder": "run/cache", "items": 4}
    shards = files(tmp_path / "run" / "cache")
    assert json.loads(cli("train", file, "--out", "run", "--json").out)["students"] == {"student": "run/student"}
    assert cli("train", file, "train.steps=4", "--out", "run").code == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["event"] == "step"] == [1, 2, 3, 4]
    assert rows[-1]["event"] == "end" and rows[-1]["step"] == 4
    assert files(tmp_path / "run" / "cache") == shards
    done = json.loads(cli("run", file, "train.steps=4", "--out", "run", "--json").out)
    assert done["results"] is None and done["done_before"] == ["student"]
    assert "is already at step 4, past the 3" in cli("train", file, "train.steps=3", "--out", "run").error


def test_a_damaged_shard_is_named_and_made_again(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    file = written(tmp_path, pipeline, compare="{}", evaluate="null")
    assert cli("cache", file, "--out", "run").code == 0
    shard = sorted((tmp_path / "run" / "cache").rglob("*.safetensors"))[1]
    good = shard.read_bytes()
    shard.write_bytes(good[:-8] + bytes(8))
    said = cli("train", file, "--out", "run").error
    assert shard.name in said and "repair" in said
    assert cli("cache", file, "--out", "run", "--repair").code == 0
    assert shard.read_bytes() == good
    assert cli("train", file, "--out", "run").code == 0


def test_d_of_another_teacher_is_refused(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    from tests.tiny.pipelines import sd

    sd(seed=1).save_pretrained(tmp_path / "other")
    file = written(tmp_path, pipeline, compare="{}", evaluate="null")
    assert cli("cache", file, "--out", "run").code == 0
    before = files(tmp_path / "run")
    said = cli("cache", file, "teacher=other", "data.cache=run/cache", "--out", "second").error
    assert "teacher" in said
    assert files(tmp_path / "run") == before


def test_pictures_are_made_once_and_the_same(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat\na dog\na cow\n")
    words = ("sample", pipeline, "--prompts", "p.txt", "--out", "o", "--steps", 2, "--guidance", 1.5)
    said = cli(*words, "--json")
    assert said.code == 0 and json.loads(said.out) == {"folder": "o", "images": 3, "index": "o/index.json"}
    before = files(tmp_path / "o")
    (tmp_path / "o" / "000001.png").unlink()
    assert cli(*words).code == 0
    assert files(tmp_path / "o").keys() == before.keys()
    assert "samples of other prompts or settings" in cli(*words, "--seed", 1).error


def test_a_student_is_cut_and_shown_and_measured(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    said = cli("student", pipeline, "--student", "b-base", "--out", "s", "--json")
    assert said.code == 0
    shown = json.loads(cli("inspect", pipeline, "--student", "b-base", "--json").out)
    assert shown["parameters"]["student"] == json.loads(said.out)["parameters"] < shown["parameters"]["teacher"]
    assert "removed" in cli("inspect", pipeline, "--student", "b-base").out
    assert json.loads(cli("inspect", tmp_path / "s", "--json").out)["parameters"] == shown["parameters"]["student"]
    (tmp_path / "p.txt").write_text("a cat\na dog\n")
    words = (
        "evaluate",
        pipeline,
        "s",
        "--prompts",
        "p.txt",
        "--protocol",
        "plain",
        "--steps",
        2,
        "--out",
        "e",
        "--json",
    )
    results = json.loads(cli(*words).out)
    assert [model["name"] for model in results["models"]] == ["sd", "s"]
    assert results["models"][1]["groups"]["all"]["kd_gap"]["value"] > 0


def test_backbones_and_metrics_are_named_on_the_command_line(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    from tests.unit.evaluate import networks

    networks.clip(tmp_path / "clip")
    (tmp_path / "p.txt").write_text("a cat\na dog\n")
    words = ("evaluate", pipeline, "--prompts", "p.txt", "--steps", 2, "--json")
    given = ("--metrics", "clip_score,fd_clip", "--backbone", "clip=clip", "--keep-images", "kept", "--batch", 1)
    said = cli(*words, *given)
    assert "protocol: plain" in said.err
    scores = json.loads(said.out)["models"][0]["groups"]["all"]
    assert list(scores) == ["clip_score", "fd_clip"] and -1 <= scores["clip_score"]["value"] <= 1
    assert len(list((tmp_path / "kept" / "sd" / "all").iterdir())) == 2
    again = cli(*words, "--metric", "fd_clip", "--backbone", "clip=clip", "--reference", "kept/sd/all")
    # the images themselves as their own reference
    assert json.loads(again.out)["models"][0]["groups"]["all"]["fd_clip"]["value"] == pytest.approx(0, abs=1e-6)
    assert "no NAME=VALUE" in cli(*words, "--backbone", "clip").error


@pytest.mark.parametrize("wanted", ["b-bass", "width=3"])
def test_no_such_student(wanted: str, cli: Cli, pipeline: Path) -> None:
    assert wanted in cli("inspect", pipeline, "--student", wanted).error
    assert wanted in cli("student", pipeline, "--student", wanted, "--out", "s").error


def test_inspect_of_what_is_not_there(cli: Cli, tmp_path: Path) -> None:
    assert "did you mean 'sd-v1-4'" in cli("inspect", "sd-v1-44").error
    assert "no such teacher: xyzzy" in cli("inspect", "xyzzy").error
    assert "config.json" in cli("inspect", tmp_path).error


@pytest.mark.slow
def test_stopped_by_the_user_keeps_everything_and_goes_on(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    file = written(tmp_path, pipeline, compare="{}", evaluate="null", train="{steps: 100000, batch: 2, log_every: 1}")
    command = [sys.executable, "-m", "condistill.cli", "train", str(file), "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 120
    try:
        while time.monotonic() < deadline and not (log.exists() and '"step": 2' in log.read_text()):
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith(
        "condistill: stopped; everything finished is kept in run; to go on: condistill train"
    )
    done = max(json.loads(line)["step"] for line in log.read_text().splitlines())
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")] == [f"step-{done:08d}"]
    assert cli("train", file, f"train.steps={done + 1}", "--out", "run").code == 0
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines() if '"event": "step"' in line]
    assert steps == list(range(1, done + 2))
