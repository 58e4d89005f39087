"""A run folder belongs to one recipe; what is written into it is read back equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from condistill.errors import UserError
from condistill.recipes.arms import arms
from condistill.recipes.check import check
from condistill.recipes.dump import claim, dump_recipe, opening_comments
from condistill.recipes.load import default_folder, find, load_recipe, shipped
from condistill.recipes.schema import Recipe, checked
from condistill.recipes.shipping import copy_shipped, summary

VALUES: dict[str, Any] = {
    "teacher": "emoji",
    "student": "b-base",
    "data": {"prompts": ["a cat"]},
    "train": {"steps": 10},
    "compare": {"without": {"p_random": 0}},
}


def recipe(**changes: Any) -> Recipe:
    return checked({**VALUES, **changes}, name="r")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_are_read_back_equal(name: str, tmp_path: Path) -> None:
    first = load_recipe(name)
    file = tmp_path / "r.yaml"
    file.write_text(dump_recipe(first), encoding="utf-8")
    assert load_recipe(file) == first
    assert arms(first)[-1].name == first.name


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_are_valid(name: str) -> None:
    check(load_recipe(name), allow_missing_files=True)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_open_with_command_hardware_and_expectation(name: str) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    opening = opening_comments(text)
    for word in ("command", "hardware", "expected"):
        assert f"# {word} " in opening
    assert "runs are in docs/results.md" in opening or "not yet measured by us" in opening
    assert summary(shipped()[name])


def test_a_new_folder_is_claimed_and_continued(tmp_path: Path) -> None:
    out = claim(tmp_path / "a" / "run", recipe(), comments="# chosen by hand\n")
    before = (out / "recipe.yaml").read_bytes()
    assert b"# chosen by hand" in before and b"torch" in before
    assert claim(out, recipe()) == out
    assert (out / "recipe.yaml").read_bytes() == before
    assert default_folder(out) == out and find(out) == out / "recipe.yaml"


def test_more_steps_continue_the_run_and_are_written_down(tmp_path: Path) -> None:
    claim(tmp_path, recipe(), comments="# chosen by hand\n")
    claim(tmp_path, recipe(train={"steps": 20, "log_every": 5}))
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert load_recipe(tmp_path).train.steps == 20 and "# chosen by hand" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"steps": 10, "lr": 0.5}}, "train.lr: 5e-05 -> 0.5"),
        ({"p_random": "linear"}, "p_random: 'exponential' -> 'linear'"),
        ({"compare": {}}, r"compare.without: {'p_random': 0} -> None"),
        ({"data": {"prompts": ["a dog"]}}, r"data.prompts: \['a cat'\] -> \['a dog'\]"),
    ],
)
def test_another_recipe_is_refused_and_nothing_is_touched(changes: dict, said: str, tmp_path: Path) -> None:
    claim(tmp_path, recipe())
    before = (tmp_path / "recipe.yaml").read_bytes()
    with pytest.raises(UserError, match=f"holds the run of another recipe .*{said}.*choose another --out"):
        claim(tmp_path, recipe(**changes))
    assert (tmp_path / "recipe.yaml").read_bytes() == before


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is not empty and no run folder"):
        claim(tmp_path, recipe())
    with pytest.raises(UserError, match="is a file"):
        claim(tmp_path / "thesis.tex", recipe())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_copies_are_not_written_over_anything(tmp_path: Path) -> None:
    file = copy_shipped("emoji", tmp_path / "mine.yaml")
    assert file.read_bytes() == shipped()["emoji"].read_bytes()
    file.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        copy_shipped("emoji", file)
    assert file.read_text() == "mine"
    assert copy_shipped("emoji", tmp_path) == tmp_path / "emoji.yaml"
    with pytest.raises(UserError, match="did you mean 'emoji'"):
        copy_shipped("emojo", tmp_path / "x.yaml")
