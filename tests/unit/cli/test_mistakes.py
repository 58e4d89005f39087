"""A user's mistake ends in one clear line and exit code 2, and nothing is lost."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from condistill.cli import main
from condistill.cli.app import verb_names
from tests.unit.cli.conftest import Cli, written


def test_unknown_verbs_and_options_are_named_with_the_nearest(cli: Cli) -> None:
    said = cli("validat", "x").error
    assert said == f"no such command 'validat'; did you mean 'validate'? known: {', '.join(verb_names())}"
    assert "--jsn (Possible options: --json); see condistill ls --help" in cli("ls", "--jsn").error
    assert cli("cp", "emoji").error == "missing argument 'FILE'; see condistill cp --help"
    assert "invalid value for '--seed'" in cli("sample", "x", "--prompts", "p", "--out", "o", "--seed", "many").error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p_random": "sigmiod"}, "unknown p_random 'sigmiod'; did you mean 'sigmoid'?"),
        ({"p_random": "{name: sigmoid, kk: 3}"}, "unknown parameter of p_random 'sigmoid' 'kk'; did you mean 'k'?"),
        ({"student": "b-bass"}, "unknown student 'b-bass'; did you mean 'b-base'?"),
        ({"student": "depth=2"}, "got depth=2"),
        ({"p_randon": "0.5"}, "tiny.yaml: unknown key 'p_randon' in recipe (did you mean 'p_random'?)"),
        ({"evaluate": "{prompts: {seen: [a]}, metrics: [kd_gab]}"}, "unknown metric 'kd_gab'; did you mean 'kd_gap'?"),
        (
            {"evaluate": "{prompts: {seen: [a]}, protocol: plain, metrics: [fid]}"},
            "no weights for the backbone 'inception'; give --backbone inception=PATH (in a recipe evaluate.backbones.",
        ),
        (
            {"evaluate": "{prompts: {seen: [a]}, protocol: plain, backbones: {clap: x}}"},
            "unknown backbone 'clap'; did you mean 'clip'?",
        ),
        ({"evaluate": "{prompts: {seen: [a]}, protocol: wrld}"}, "unknown protocol 'wrld'; did you mean 'world'?"),
        (
            {"compare": "{without: {p_random: nevver}}"},
            "compare.without: unknown p_random 'nevver'; did you mean 'never'?",
        ),
        ({"data": "{prompts: nowhere.txt}"}, "no such file: nowhere.txt (named in the recipe)"),
        ({"data": "{prompts: {source: [a], holdout: {regex: '('}}}"}, "regex"),
        ({"data": "{prompts: []}"}, "at least one"),
        ({"data": "{prompts: {paht: p.txt}}"}, "unknown kind of corpus 'paht'; did you mean 'path'?"),
        (
            {"data": "{prompts: {source: [a], hold: 1}}"},
            "unknown field of the source corpus 'hold'; did you mean 'holdout'?",
        ),
        ({"data": "{prompts: [a], corpus: {world: emojo}}"}, "unknown world 'emojo'; did you mean 'emoji'?"),
        ({"train": "{steps: 2, steps: 3}"}, "tiny.yaml:5:19: key 'steps' is given twice"),
        ({"teacher": "./nowhere"}, "no such pipeline folder"),
        ({"teacher": "emojo"}, "no such pipeline folder: emojo; did you mean 'emoji'?"),
    ],
)
@pytest.mark.parametrize("verb", ["validate", "run"])
def test_a_wrong_recipe(
    verb: str, change: dict[str, str], message: str, cli: Cli, pipeline: Path, tmp_path: Path
) -> None:
    file = written(tmp_path, pipeline, **change)
    assert message in cli(verb, file.name).error
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]  # no run folder was begun


def test_a_right_recipe_is_valid(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    said = cli("validate", written(tmp_path, pipeline), "--json")
    assert said.code == 0 and json.loads(said.out) == {"valid": {str(tmp_path / "tiny.yaml"): {"missing_files": []}}}


def test_no_such_recipe(cli: Cli, tmp_path: Path) -> None:
    assert "no such recipe: emojj; did you mean 'emoji'?" in cli("run", "emojj").error
    assert "is a folder without a recipe.yaml" in cli("run", tmp_path).error
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    assert "latin.yaml:1: not UTF-8" in cli("run", "latin.yaml").error
    assert "override 'train.steps' is not key=value" in cli("run", "emoji", "train.steps").error
    assert "unknown key 'stepz' in train (did you mean 'steps'?)" in cli("run", "emoji", "train.stepz=3").error
    said = cli("run", "emoji", "train.trackers=[tensorbord]").error
    assert "unknown tracker 'tensorbord'; did you mean 'tensorboard'?" in said


def test_what_is_checked_may_be_overridden(cli: Cli) -> None:
    assert "unknown key 'stepz' in train (did you mean 'steps'?)" in cli("validate", "emoji", "train.stepz=3").error
    assert "'train.steps=3' is an override; name the recipe before it" in cli("validate", "train.steps=3").error
    # a preset's micro-batch follows a smaller batch
    said = cli("validate", "sd14-b-base", "emoji", "train.batch=8", "--json")
    assert said.code == 0 and set(json.loads(said.out)["valid"]) == {"sd14-b-base", "emoji"}


def test_no_such_run(cli: Cli, tmp_path: Path) -> None:
    assert "no such run folder: nowhere; give the folder" in cli("push", "nowhere", "me/small", "--dry-run").error
    (tmp_path / "empty").mkdir()
    assert "empty is no run folder: it has no recipe.yaml" in cli("push", "empty", "me/small", "--dry-run").error


def test_a_folder_that_is_no_pipeline(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "p.txt").write_text("a cat\n")
    for words in (
        ("sample", "./folder", "--prompts", "p.txt", "--out", "o"),
        ("evaluate", "./folder", "--prompts", "p.txt"),
        ("student", "./folder", "--student", "b-base", "--out", "o"),
    ):
        assert "folder is no pipeline folder: it has no model_index.json" in cli(*words).error
        assert "no such pipeline folder: ./nowhere" in cli(words[0], "./nowhere", *words[2:]).error
    assert "folder" in cli("report", "folder").error
    (tmp_path / "run" / "student").mkdir(parents=True)
    (tmp_path / "run" / "student" / "model_index.json").write_text("{}")
    for words in (("inspect", "run"), ("export", "run", "--to", "onnx")):
        assert "run is a run folder; a pipeline is wanted, such as its student: run/student" in cli(*words).error
    assert "no such" in cli("report", "nowhere").error.lower()


def test_a_tokenizer_on_which_its_library_gives_up(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    """A panic of a library in Rust is no Exception."""
    shutil.copytree(pipeline, tmp_path / "sd")
    file = tmp_path / "sd" / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 2**63}))
    (tmp_path / "p.txt").write_text("a cat\n")
    said = cli("sample", "./sd", "--prompts", "p.txt", "--out", "o")  # the library writes lines of its own before
    last = said.err.strip().splitlines()[-1]
    assert said.code == 2 and last.startswith("condistill: error: ") and "tokenizer" in last
    assert last.endswith("a library gave up on it (capacity overflow); restore the files from a copy")


def test_a_run_folder_of_another_recipe(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    from condistill.recipes import claim, load_recipe

    file = written(tmp_path, pipeline)
    claim(tmp_path / "run", load_recipe(file))
    before = (tmp_path / "run" / "recipe.yaml").read_bytes()
    said = cli("run", file, "train.lr=0.5", "--out", "run").error
    assert said == (
        "run holds the run of another recipe (train.lr: 5e-05 -> 0.5); nothing was touched, choose another --out"
    )
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == before
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["recipe.yaml"]


def test_more_steps_of_a_schedule_that_depends_on_them(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    from condistill.recipes import claim, load_recipe

    file, run = written(tmp_path, pipeline), tmp_path / "run"
    claim(run, load_recipe(file, ["train.lr_schedule=cosine"]))
    claim(run, load_recipe(file, ["train.lr_schedule=cosine", "train.steps=70"]))  # nothing was trained yet
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    before = (run / "recipe.yaml").read_bytes()
    said = cli("run", file, "train.lr_schedule=cosine", "train.steps=90", "--out", "run").error
    assert "another recipe (train.steps, on which the cosine schedule depends: 70 -> 90)" in said
    assert (run / "recipe.yaml").read_bytes() == before


def test_outputs_are_not_written_over(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "p.txt").write_text("a cat\n")
    for words in (
        ("sample", pipeline, "--prompts", "p.txt", "--out", "full"),
        ("evaluate", pipeline, "--prompts", "p.txt", "--out", "full"),
        ("student", pipeline, "--student", "b-base", "--out", "full"),
        ("run", written(tmp_path, pipeline), "--out", "full"),
        ("run", written(tmp_path, pipeline), "--out", "p.txt"),
        ("cp", "emoji", "p.txt"),
    ):
        assert "--out" in cli(*words).error or words[0] == "cp"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    assert (tmp_path / "p.txt").read_text() == "a cat\n"


def test_no_room_for_d(cli: Cli, pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(total=1, used=1, free=0))
    said = cli("cache", written(tmp_path, pipeline), "--out", "run").error
    assert said.startswith("D needs about") and "0 MiB are free" in said
    said = cli("cache", tmp_path / "tiny.yaml", "data.num_items=2000000000", "--out", "many").error
    assert said.startswith("D needs about")  # and its rows were not made, which would fill the memory


def test_no_prompts(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\n\n")
    assert "p.txt" in cli("sample", pipeline, "--prompts", "p.txt", "--out", "o").error
    assert "no such" in cli("sample", pipeline, "--prompts", "q.txt", "--out", "o").error.lower()
    (tmp_path / "l.txt").write_bytes("a caf\xe9".encode("latin-1"))
    assert "UTF-8" in cli("evaluate", pipeline, "--prompts", "l.txt").error
    (tmp_path / "t.csv").write_text("who,what\n1,2\n")
    assert "column" in cli("evaluate", pipeline, "--prompts", "t.csv").error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Makes a verb's work end in an exception."""

    def fail_with(error: BaseException) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr("condistill.recipes.shipping.copy_shipped", fail)

    return fail_with


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "big.bin"), 2, "error: no space left on the disk: big.bin"),
        (OSError(errno.EFBIG, "File too large", "big.bin"), 2, "error: no space left on the disk: big.bin"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "error: not permitted to read or write: /x"),
        (KeyboardInterrupt(), 130, "stopped; everything written before is kept"),
        (RuntimeError("a bug"), 1, "RuntimeError: a bug"),
        (OSError(errno.EIO, "broken disk"), 1, "broken disk"),
    ],
)
def test_exit_codes(error: BaseException, code: int, said: str, cli: Cli, failing) -> None:
    failing(error)
    found = cli("cp", "emoji", "x.yaml")
    assert found.code == code and said in found.err and found.out == ""
    assert (code == 1) == ("Traceback" in found.err)


def test_a_terminated_process_ends_like_an_interrupted_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("condistill.recipes.shipping.copy_shipped", lambda *a: signal.raise_signal(signal.SIGTERM))
    assert main(["cp", "emoji", str(tmp_path / "x")]) == 130
    assert signal.getsignal(signal.SIGTERM) is before
