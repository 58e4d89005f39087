"""Imports only go down the floors of docs/architecture.md, without cycles; the doors of the house stay light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "condistill"
FILES = sorted(SRC.rglob("*.py"))

FLOORS = [
    (
        *(
            "maths",
            "dotted",
            "errors",
            "files",
            "hub",
            "lock",
            "memory",
            "owner",
            "pictures",
            "processes",
            "progress",
            "reading",
            "remote",
            "stopping",
        ),
        *("stopwatch", "callable_package", "versions", "torchvision_ops"),
    ),
    ("corpus", "cache"),
    ("teacher", "world"),
    ("students", "distill", "generate"),
    ("train", "evaluate", "probes", "bench"),
    ("recipes", "report", "export"),
    ("cli", "web", "__main__"),
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# The only ways up: a method of the public API that must live on the teacher, with the import inside it.
STAIRS = {("teacher", "students"): "Teacher.student(spec) plans and builds a student"}

# Importing these costs seconds or hundreds of MiB; `condistill --help` must not pay for it.
HEAVY = ["torch", "diffusers", "transformers", "accelerate", "pyarrow", "matplotlib", "scipy", "PIL"]


@dataclass(frozen=True)
class Import:
    """One import of our own code: from which room to which, and whether it runs when the file is imported."""

    source: str
    target: str
    line: int
    at_import: bool


def room_of(path: Path) -> str:
    """The top-level package or module that a file belongs to; "" for condistill/__init__.py."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imported_names(node: ast.AST, path: Path) -> list[str]:
    """The dotted modules that an import statement names, relative ones resolved."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    if node.level:
        package = ("condistill", *path.relative_to(SRC).parent.parts)
        base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
    else:
        base = node.module or ""
    return [f"{base}.{alias.name}" for alias in node.names] if base == "condistill" else [base]


def deferred_lines(tree: ast.AST) -> set[int]:
    """The lines that do not run when the file is imported: bodies of functions and of `if TYPE_CHECKING`."""
    bodies = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    bodies += [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    return {line for n in bodies for line in range(n.lineno, (n.end_lineno or n.lineno) + 1)}


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of our own code in a file, between different rooms."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    deferred = deferred_lines(tree)
    for node in ast.walk(tree):
        for name in imported_names(node, path):
            parts = name.split(".")
            if parts[0] == "condistill" and len(parts) > 1 and parts[1] != room_of(path):
                line = getattr(node, "lineno", 0)
                yield Import(room_of(path), parts[1], line, line not in deferred)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_only_go_down(path: Path) -> None:
    room = room_of(path)
    if room == "":
        pytest.skip("the front door names every floor, lazily")
    assert room in FLOOR_OF, f"{room} is on no floor: give it one here and in docs/architecture.md"
    for each in imports_of(path):
        if each.target.startswith("__"):
            continue
        assert each.target in FLOOR_OF, f"{path.name}:{each.line} wants {each.target} from the front door"
        if (each.source, each.target) in STAIRS:
            assert not each.at_import, f"{path.name}:{each.line}: {each.target} is above; import it inside the function"
            continue
        up = FLOOR_OF[each.target] > FLOOR_OF[each.source]
        assert not up, f"{path.name}:{each.line}: {each.source} (F{FLOOR_OF[each.source]}) imports {each.target}"


def test_rooms_have_no_cycles() -> None:
    below: dict[str, set[str]] = {}
    for path in FILES:
        for each in imports_of(path):
            if each.source and (each.source, each.target) not in STAIRS:
                below.setdefault(each.source, set()).add(each.target)

    def visit(room: str, trail: tuple[str, ...]) -> None:
        assert room not in trail, " -> ".join([*trail, room])
        for target in sorted(below.get(room, ())):
            visit(target, (*trail, room))

    for room in sorted(below):
        visit(room, ())


@pytest.mark.parametrize("module", ["condistill", "condistill.cli"])
def test_front_doors_import_nothing_heavy(module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & set(HEAVY)


def test_public_names_can_be_called_after_every_import() -> None:
    """A function such as `condistill.distill` is not hidden by the package of the same name once that is imported."""
    code = (
        "import importlib, condistill\n"
        "names = [n for n in condistill.__all__ if not n.startswith('_')]\n"
        "wrong = lambda: [n for n in names if not callable(getattr(condistill, n))]\n"
        "first = wrong()\n"
        "for home in 'maths corpus cache teacher world distill generate train evaluate report'.split():\n"
        "    importlib.import_module('condistill.' + home)\n"
        "print(sorted({*first, *wrong()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"
