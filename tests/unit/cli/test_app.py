"""The command line as a whole: verbs found by their files, help at once, JSON alone on standard output."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from condistill import __version__
from condistill.cli.app import PANELS, verb_names
from tests.unit.cli.conftest import Cli

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "pyarrow",
    "matplotlib",
    "scipy",
    "PIL",
    "pydantic",
    "yaml",
)


def test_the_verbs_are_those_of_the_contract() -> None:
    first = ["demo", "run", "inspect", "student", "cache", "train"]
    wanted = [*first, "sample", "evaluate", "report", "ls", "cp", "validate"]
    assert set(wanted) <= set(verb_names())


@pytest.mark.parametrize("verb", verb_names())
def test_every_verb_has_help_with_an_example_and_prints_json(verb: str, cli: Cli) -> None:
    module = importlib.import_module(f"condistill.cli.verbs.{verb}")
    assert module.PANEL in PANELS
    said = cli(verb, "--help")
    assert said.code == 0 and said.err == ""
    assert f"Example: condistill {verb}" in " ".join(said.out.split()) and "--json" in said.out


def test_help_and_version(cli: Cli) -> None:
    assert cli("--version").out == f"condistill {__version__}\n"
    for words in ((), ("--help",), ("-h",)):
        said = cli(*words)
        assert said.code == 0 and all(verb in said.out for verb in verb_names())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from condistill.cli import main; code = main(['--help']);"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})), code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m condistill.cli ls | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_stopped_within_an_exec_it_still_ends_with_its_own_code(tmp_path: Path) -> None:
    """As where a signal falls into the making of a dataclass; CPython then ends a -m by SIGINT if nothing is done."""
    lines = (
        "import importlib, sys",
        "main = importlib.import_module('condistill.cli.main')",
        "main._run = lambda argv: exec('raise KeyboardInterrupt')",
        "sys.exit(main.main([]))",
    )
    (tmp_path / "stopped.py").write_text("\n".join(lines))
    done = subprocess.run([sys.executable, "-m", "stopped"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "condistill: stopped; everything written before is kept\n")


def test_the_shell_completes_verbs() -> None:
    asked = {"_CONDISTILL_COMPLETE": "complete_bash", "COMP_WORDS": "condistill va", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "condistill.cli"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | asked)
    assert done.stdout.split() == ["validate"]


def test_ls_and_cp_in_words_and_as_json(cli: Cli) -> None:
    assert "emoji " in cli("ls").out
    assert "emoji" in json.loads(cli("ls", "--json").out)["recipes"]
    assert json.loads(cli("cp", "emoji", "mine.yaml", "--json").out) == {"recipe": "emoji", "file": "mine.yaml"}
    assert cli("cp", "emoji", "mine.yaml").error.startswith("mine.yaml exists already")
