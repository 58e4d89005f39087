"""Every command of docs/experiments.md makes cells, and each of them is a recipe that can be carried out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from condistill.recipes.check import check
from condistill.recipes.grid import axis, cells
from condistill.students import make_plan

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```\n(.*?)```", (ROOT / "docs" / "experiments.md").read_text("utf-8"), re.DOTALL)
COMMANDS = [f"condistill{text}" for block in BLOCKS for text in block.split("condistill")[1:]]
GRIDS = [shlex.split(command.replace("\\\n", " ")) for command in COMMANDS if command.startswith("condistill ablate")]


@pytest.mark.parametrize("words", GRIDS, ids=lambda words: words[words.index("--out") + 1])
def test_a_grid_of_the_page_can_be_carried_out(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    options: dict[str, list[str]] = {}
    rest = iter(words[2:])
    for word in rest:
        options.setdefault(word if word.startswith("--") else "", []).append(
            next(rest) if word.startswith("--") else word
        )
    recipe, *overrides = options[""]
    found = cells(recipe, overrides, [axis(text) for text in options["--over"]], seeds=range(1), out=Path("grid"))
    assert len(found) >= 2
    for cell in found:
        check(cell.recipe)


def test_students_are_equal_where_the_page_says_so() -> None:
    from condistill.recipes.students import teacher_config
    from condistill.students import count_macs, count_parameters

    cls, config = teacher_config("emoji")

    def costs(spec: str, init: str) -> tuple[int, int]:
        own = make_plan(config, cls, spec, init=init).config
        macs = count_macs(cls, own)
        assert macs is not None
        return count_parameters(cls, own), macs["conv_linear"]

    small, tiny, narrow = costs("b-small", "inherit"), costs("b-tiny", "inherit"), costs("width=0.75", "slice")
    assert small[0] == pytest.approx(narrow[0], rel=0.02) and tiny[1] == pytest.approx(narrow[1], rel=0.02)
