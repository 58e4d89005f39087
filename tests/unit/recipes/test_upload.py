"""An upload as a hub sees it: every file of the folder arrives as it is, and what goes wrong is one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, written
from tests.unit.cli.conftest import cli as cli
from tests.unit.cli.conftest import pipeline as pipeline
from tests.unit.recipes.hub import TOKEN, Hub, running

CARD = "---\nlicense: openrail\nextra_gated_prompt: Be kind\n---\n# The teacher\n"


@pytest.fixture
def run(pipeline: Path, tmp_path: Path) -> Path:
    """A run folder as a finished run leaves it, of a teacher with a gate."""
    teacher, run = tmp_path / "teacher", tmp_path / "run"
    teacher.symlink_to(pipeline, target_is_directory=True)
    (run / "student").parent.mkdir()
    (run / "student").symlink_to(pipeline, target_is_directory=True)
    file = written(run, teacher, compare="{}", evaluate="null")
    file.rename(run / "recipe.yaml")
    return run


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, which is the one that is asked."""
    with running() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        # its own protocol of chunks talks to servers that are none of the API
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield hub


def test_an_upload_arrives_whole_breaks_in_one_line_and_goes_on(
    cli: Cli, run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("push", run, "me/small", "--license", "openrail")
    # what comes in the way, one after the other, each time a step further
    with monkeypatch.context() as nobody:
        nobody.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        assert "could not be reached for the upload of me/small" in cli(*asked).error
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    assert "does not accept the token for the upload of me/small" in cli(*asked).error
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fails["POST", "/api/repos/create"] = 403
    assert "the hub refused the upload of me/small" in cli(*asked).error and not hub.repos
    hub.fails["PUT", "/objects/"] = 403
    said = cli(*asked).error
    assert "the upload of me/small" in said and "run the same command again" in said, said
    hub.fails["POST", "/api/models/me/small/commit"] = 0
    assert "could not be reached for the upload of me/small" in cli(*asked).error
    assert hub.files["me/small"] == {".gitattributes": b""}
    sent = hub.puts
    said = cli(*asked, "--json")
    assert said.code == 0, said.err
    made = json.loads(said.out)
    assert made["address"] == f"{hub.address}/me/small" and hub.puts == sent  # what had come is not sent again
    folder = run / "push"
    wanted = {name: (folder / name).read_bytes() for name in made["files"]}
    assert any(name.endswith(".safetensors") for name in wanted) and "README.md" in wanted
    assert {name: value for name, value in hub.files["me/small"].items() if name != ".gitattributes"} == wanted
    assert b"license: openrail" in wanted["README.md"]

    # a repository of ours is gone on with, any other one is left as it is
    hub.repos["me/small"]["tags"] = ["condistill"]
    assert cli(*asked, "--private").code == 0 and hub.repos["me/small"]["visibility"] == "private"
    hub.repos["me/other"], hub.files["me/other"] = {}, {"model.bin": b"x"}
    said = cli("push", run, "me/other", "--license", "openrail").error
    assert "me/other is on the hub already and holds something else" in said and "choose another name" in said
    assert hub.files["me/other"] == {"model.bin": b"x"} and hub.repos["me/other"] == {}


def test_a_gate_is_up_before_the_first_file(cli: Cli, run: Path, hub: Hub, pipeline: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    teacher.unlink()
    teacher.mkdir()
    for part in pipeline.iterdir():
        (teacher / part.name).symlink_to(part)
    (teacher / "README.md").write_text(CARD)
    hub.repos["me/small"], hub.files["me/small"] = {"visibility": "public"}, {".gitattributes": b""}
    hub.fails["POST", "/api/models/me/small/preupload"] = 403
    assert "the hub refused" in cli("push", run, "me/small").error
    assert hub.repos["me/small"] == {"visibility": "private", "gated": "auto"}
    assert cli("push", run, "me/small").code == 0
    card = hub.files["me/small"]["README.md"].decode()
    assert "license: openrail" in card and "extra_gated_prompt: Be kind" in card
