"""The part of the guide in CONTRIBUTING.md that a program can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "condistill"
FILES = sorted(SRC.rglob("*.py"))
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40

# Exceptions, each with its reason. Shorten the code before lengthening this list.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS = {"train/loop.py:train": "flat: it reads from top to bottom as what one training step is"}
BANNED_NAMES = {"utils", "util", "misc", "helpers", "helper", "funcs", "common", "v2", "new"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    """The path of a source file below src/condistill, with forward slashes."""
    return path.relative_to(SRC).as_posix()


def parse(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def body_lines(function: Function) -> int:
    """The lines of a function's body, from the first statement after its docstring to the end."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


each_file = pytest.mark.parametrize("path", FILES, ids=relative)


@each_file
def test_file_is_short_and_well_named(path: Path) -> None:
    count = len(path.read_text(encoding="utf-8").splitlines())
    assert count <= MAX_FILE_LINES or relative(path) in LONG_FILES, f"{count} lines; split it by what it is about"
    parts = set(path.relative_to(SRC).with_suffix("").parts)
    assert not parts & BANNED_NAMES, "name a file for the thing that is in it"


@each_file
def test_functions_are_short(path: Path) -> None:
    functions = [node for node in ast.walk(parse(path)) if isinstance(node, Function)]
    long = {f"{relative(path)}:{f.name}": body_lines(f) for f in functions if body_lines(f) > MAX_FUNCTION_LINES}
    assert not set(long) - set(LONG_FUNCTIONS), long


@each_file
def test_public_functions_and_classes_say_what_they_are(path: Path) -> None:
    tree = parse(path)
    assert ast.get_docstring(tree), "the file has no docstring"
    public = [node for node in tree.body if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")]
    undocumented = [node.name for node in public if not ast.get_docstring(node)]
    assert not undocumented


@each_file
def test_source_is_ascii_and_defers_annotations(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.isascii(), sorted({c for c in text if not c.isascii()})
    annotated = any(isinstance(node, Function | ast.AnnAssign) for node in ast.walk(parse(path)))
    assert not annotated or "from __future__ import annotations" in text


@each_file
def test_nothing_of_ours_is_called_scheduler(path: Path) -> None:
    """The word has three meanings; it is kept for diffusers' object: a function may make one and be called so."""
    named = [node.name for node in ast.walk(parse(path)) if isinstance(node, Function | ast.ClassDef)]
    assert not [name for name in named if name != "scheduler" and re.search("sched", name, re.IGNORECASE)]


def test_every_exception_is_still_needed() -> None:
    for name in LONG_FILES:
        assert len((SRC / name).read_text(encoding="utf-8").splitlines()) > MAX_FILE_LINES, f"{name} is short now"
    for name in LONG_FUNCTIONS:
        file, _, function_name = name.partition(":")
        found = [f for f in ast.walk(parse(SRC / file)) if isinstance(f, Function) and f.name == function_name]
        assert any(body_lines(f) > MAX_FUNCTION_LINES for f in found), f"{name} is short now"
