"""Every command line that a page shows is one that the real parser accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.command_lines import commands_in, parse

ROOT = Path(__file__).parents[2]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if commands_in(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_are_accepted(page: Path) -> None:
    for line in commands_in(page.read_text("utf-8")):
        parse(line)


def test_experiments_are_among_them() -> None:
    assert {"experiments.md", "results.md"} <= {page.name for page in PAGES}
