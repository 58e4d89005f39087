"""A student's folder with its card: what is in it, what is escaped, what is carried over, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from diffusers import DiffusionPipeline

from condistill.recipes.licence import front_matter
from condistill.report.markdown import fenced, plain_text
from tests.unit.cli.conftest import Cli, written
from tests.unit.cli.conftest import cli as cli
from tests.unit.cli.conftest import pipeline as pipeline

HOSTILE = "a <script>alert(1)</script> | ![x](http://a.b) `cat`"
GATED = """---
license: other
license_name: my-terms
extra_gated_prompt: "You agree: yes"
other: dropped
---
# The teacher
"""


@pytest.fixture
def run(cli: Cli, pipeline: Path, tmp_path: Path) -> Path:
    """A finished run whose teacher has a gated card and a licence text, and whose prompts are hostile."""
    teacher = shutil.copytree(pipeline, tmp_path / "private" / "teacher")
    (teacher / "README.md").write_text(GATED)
    (teacher / "LICENSE.txt").write_text("Be kind.")
    prompts = json.dumps([HOSTILE, "a dog"])
    call = "call: {num_inference_steps: 2, guidance_scale: 2.0}"
    evaluate = f"{{protocol: plain, prompts: {{seen: {prompts}}}, num_items: {{seen: 2}}, {call}, grid: 2}}"
    file = written(tmp_path, teacher, data=f"{{prompts: {prompts}, {call}}}", evaluate=evaluate, compare="{}")
    said = cli("run", file, "--out", "run")
    assert said.code == 0, said.err
    return tmp_path / "run"


def test_a_pushed_folder_is_a_pipeline_with_a_card(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = cli("push", run, "me/small", "--dry-run", "--json")
    assert said.code == 0, said.err
    made, folder = json.loads(said.out), run / "push"
    assert made["address"] is None and made["licence"] == "other" and made["gated"] is True
    assert type(DiffusionPipeline.from_pretrained(folder)).__name__ == "StableDiffusionPipeline"
    card = (folder / "README.md").read_text()
    head = front_matter(folder / "README.md")
    assert head["license_name"] == "my-terms" and head["extra_gated_prompt"] == "You agree: yes"
    assert "other" not in head and "condistill" in head["tags"] and (folder / "LICENSE.txt").read_text() == "Be kind."
    for section in ("How to load it", "Licence", "Student", "Data", "Scores", "Samples", "Recipe"):
        assert f"\n## {section}\n" in card
    assert "from_pretrained('me/small')" in card and "kd\\_gap" in card and "hash of all" in card
    # the user's text is text: outside of the recipe's code block there is no tag, link or cell of theirs
    outside = card.partition("\n## Recipe\n")[0]
    assert "&lt;script" in outside and "<script" not in outside and "](http://a.b)" not in outside
    assert all(
        str(run.parent) not in (folder / name).read_text() for name in ("README.md", "recipe.yaml", "results.json")
    )
    assert len(list((folder / "samples").glob("*.png"))) == 4
    assert re.findall(r"!\[\]\((samples/[^)]*)\)", card) and yaml.safe_load((folder / "recipe.yaml").read_text())
    # without a token an upload is one line; the folder is written anew by the same command only
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(run / "none"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(run / "none"))
    assert "no Hugging Face token" in cli("push", run, "me/small").error
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "could not be reached for the upload of me/small" in cli("push", run, "me/small").error
    other = run.parent / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    assert "nothing was touched" in cli("push", run, "me/small", "--dry-run", "--out", other).error
    assert "is no name on the hub" in cli("push", run, "../x", "--dry-run").error
    assert "no student 'wit'" in cli("push", run, "me/small", "--dry-run", "--arm", "wit").error


def test_text_is_plain_and_code_stays_inside_its_fence() -> None:
    assert plain_text("a\n# b\x07") == "a \\# b"
    assert plain_text("x" * 500).endswith("\\.\\.\\.")
    assert fenced("a\n```\nb").startswith("````\n") and fenced("a\n```\nb").endswith("\n````")


def test_a_licence_that_is_not_known_is_not_passed_on(
    cli: Cli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = tmp_path / "private" / "teacher"
    (teacher / "README.md").unlink()
    (teacher / "LICENSE.txt").unlink()
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    assert "a student must not lose it" in cli("push", run, "me/small").error
    said = cli("push", run, "me/small", "--dry-run")
    assert said.code == 0 and "licence  not known" in said.out
    assert "licence is not known" in (run / "push" / "README.md").read_text()
    said = cli("push", run, "me/small", "--dry-run", "--license", "mit")
    assert said.code == 0 and front_matter(run / "push" / "README.md")["license"] == "mit"
