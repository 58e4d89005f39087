"""What the pages at the top say is what the code has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from packaging.requirements import Requirement
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import condistill
from condistill.cli.app import verb_names
from condistill.recipes.schema import Recipe

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FREE = "..."  # in the reference of recipes: no default, or one that depends on the rest
FREE_KEYS = {"name", "teacher", "compare"}


def test_readme_lists_the_verbs_there_are() -> None:
    rows = re.findall(r"^\| `condistill ([^|]+) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    listed = {word for row in rows for word in re.findall(r"(?:^|`, `)(\w+)", row)}
    assert listed == set(verb_names())


def reference() -> dict[str, Any]:
    """The recipe that docs/architecture.md shows, as plain values."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert block
    return yaml.safe_load(block.group(1))


def compare(section: type[BaseModel], shown: Mapping[str, Any], place: str) -> list[str]:
    """The dotted names whose default differs from what the page shows, or that it lacks or invents."""
    wrong = [f"{place}{name} is not in the schema" for name in shown if name not in section.model_fields]
    for name, field in section.model_fields.items():
        if name not in shown:
            wrong.append(f"{place}{name} is not on the page")
            continue
        value, default = shown[name], field.default
        kinds = [field.annotation, *get_args(field.annotation)]
        below = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if below:
            if isinstance(value, Mapping):
                wrong += compare(below[0], value, f"{place}{name}.")
        elif default is PydanticUndefined or value == FREE or (not place and name in FREE_KEYS):
            continue
        elif (list(default) if isinstance(default, tuple) else default) != value:
            wrong.append(f"{place}{name} is {default!r}, the page says {value!r}")
    return wrong


def test_the_recipe_reference_shows_every_key_and_default() -> None:
    assert compare(Recipe, reference(), "") == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    local = [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_source_names_only_pages_that_are_here() -> None:
    pages = {"notes.md", "ablation.md", *(page.name for page in PAGES)}  # the first two: of a run and a grid
    named = {
        f"{path.relative_to(ROOT)}: {page}"
        for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
        for page in re.findall(r"\w+\.md\b", path.read_text("utf-8"))
        if page not in pages
    }
    assert named == set()


def test_the_version_is_the_same_everywhere() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"]
    assert PROJECT["version"] == condistill.__version__ == cited
    assert f"## {cited}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_requirement_is_pinned_within_its_bound() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    for requirement in map(Requirement, wanted):
        pin = pins.get(requirement.name.lower())
        assert pin, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pin), f"{requirement} against {pin}"


def test_nothing_names_a_place_on_one_machine() -> None:
    kinds = {".py", ".md", ".toml", ".txt", ".yaml", ".cff", ".json", ".html", ""}
    folders = ["src", "tests", "docs", "examples", "benchmarks", ".ci"]
    files = [path for name in folders for path in (ROOT / name).rglob("*")]
    files += [path for path in ROOT.glob("*") if path.name not in {".git", ".venv", "runs"}]
    place = re.compile("/(home|" + "root|work|opt|Users)/[a-z]")
    texts = [path for path in files if path.is_file() and path.suffix in kinds and "__pycache__" not in path.parts]
    assert [str(path) for path in texts if place.search(path.read_text("utf-8", errors="replace"))] == []
