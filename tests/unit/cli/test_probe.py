"""`condistill probe`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Cli


def test_a_pipeline_is_asked(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat\na dog\na cow\n")
    words = ("probe", pipeline, "--prompts", "p.txt", "--keys", 2, "--samples", 2, "--steps", 2, "--guidance", 2)
    said = cli(*words, "--probe", "merging", "--probe", "condition_sensitivity", "--out", "o", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)["found"]
    assert sorted(found) == ["condition_sensitivity", "merging"]
    assert (tmp_path / "o" / "merging" / "probe.json").is_file()
    assert "own condition" in cli(*words, "--probe", "merging").out


def test_mistakes(cli: Cli, pipeline: Path) -> None:
    assert "has no prompts of its own" in cli("probe", pipeline).error
    assert "did you mean 'merging'" in cli("probe", "emoji", "--probe", "mergin").error
