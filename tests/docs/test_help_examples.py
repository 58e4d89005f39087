"""Every `Example:` of a verb's help is carried out as printed, one after the other in one folder, as a new user would.

Where that would take minutes, words are appended that make it short (`SHORTER`); what trains many times or waits for a
browser is parsed by the real parser and no more (`PARSED`).
"""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
from pathlib import Path

import pytest

from condistill.cli import main
from condistill.cli.app import verb_names
from tests.docs.command_lines import parse
from tests.world.test_demo import SHORT

FIRST = ("demo", "cp")  # what they write, other examples read
FEW = ["--steps", "2"]
SHORTER = {
    "demo": SHORT,
    "run": SHORT,
    "train": SHORT,
    "cache": [*SHORT[:2], "data.num_items=8"],
    "evaluate": FEW,
    "sample": FEW,
    "probe": ["--keys", "2", "--samples", "2", *FEW],
}
PARSED = {"ablate": "six cells", "bench": "a measurement, minutes", "serve": "waits for a browser"}


def example(verb: str) -> str:
    """The command line after `Example:` in a verb's help."""
    module = importlib.import_module(f"condistill.cli.verbs.{verb}")
    found = re.search(r"Example: (condistill [^\n]*)", inspect.getdoc(getattr(module, verb)) or "")
    assert found, f"{verb} has no example"
    return found.group(1)


def test_every_example_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text(
        "".join(f"a {name} on a red background\n" for name in ("panda", "fox", "guitar", "drum")), "utf-8"
    )
    for verb in [*FIRST, *(name for name in verb_names() if name not in FIRST)]:
        line = example(verb)
        assert parse(line) == verb
        if verb not in PARSED:
            code, said = main([*shlex.split(line)[1:], *SHORTER.get(verb, [])]), capsys.readouterr().err
            if code == 2 and "install it: pip install 'condistill[" in said:
                continue  # an extra that is not installed here, and says so
            assert code == 0, (line, said[-2000:])
    for written in ("runs/demo/report.html", "mine.yaml", "pictures", "runs/probe", "students/b-base/model_index.json"):
        assert Path(written).exists(), written
