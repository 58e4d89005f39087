"""The axes and cells of an ablation: what is parsed, what is refused, what cells have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from condistill.errors import UserError
from condistill.recipes.grid import axis, cells


def made(*over: str, overrides: tuple[str, ...] = (), seeds: int = 2, recipe: str = "emoji-grid") -> list:
    return cells(recipe, overrides, [axis(text) for text in over], seeds=range(seeds), out=Path("grid"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("p_random=never,exponential:7,0.5", ("never", "exponential:7", 0.5)),
        ("p_random=[never, {name: sigmoid, k: 20}]", ("never", {"name": "sigmoid", "k": 20})),
        ("p_random={name: tabulated, values: [0, 1]},never", ({"name": "tabulated", "values": [0, 1]}, "never")),
        ("student.spec=b-base,width=0.75", ("b-base", "width=0.75")),
        ("data.corpus=[null, [a, b]]", (None, ["a", "b"])),
    ],
)
def test_values_are_split_at_commas_or_given_as_a_list(text: str, values: tuple) -> None:
    assert axis(text).values == values


def test_a_value_may_have_a_label() -> None:
    found = axis("data.corpus=[{label: D only, value: null}, {label: all, value: {world: emoji, group: all}}]")
    assert found.labels == ("D only", "all") and found.values == (None, {"world": "emoji", "group": "all"})
    assert [cell.recipe.data.corpus for cell in made("data.corpus=[{label: D only, value: null}]", seeds=1)] == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p_random", "is not KEY=VALUE,VALUE"),
        ("p_random=", "is not KEY=VALUE,VALUE"),
        ("p_random=[]", "has no values"),
        ("p_random=never,never", "twice"),
        ("train.seed=0,1", "say --seeds"),
        ("evaluate.seed=0,1", "one protocol"),
        ("teacher=a,b", "one teacher"),
        ("p_random=[never", "--over"),
    ],
)
def test_what_is_no_axis_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        axis(text)


@pytest.mark.parametrize(
    ("over", "overrides", "message"),
    [
        (["p_randon=never,always"], (), "unknown key 'p_randon' in recipe .did you mean 'p_random'"),
        (["student.init=inherit,randm"], (), "student.init must be 'inherit'"),
        (["p_random=never,always", "p_random=linear,0.5"], (), "given twice"),
        (["train.lr=1,1.0"], (), "same recipe"),
        (["p_random=never,always"], ("compare.without.p_random=never",), "comparisons are left out"),
        (["p_random=never,always"], ("evaluate=null",), "no section evaluate"),
    ],
)
def test_what_makes_no_cells_is_refused(over: list[str], overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(*over, overrides=overrides)


def test_cells_are_the_product_and_differ_in_nothing_else() -> None:
    found = made("p_random=never,exponential", "student.init=inherit,random", seeds=2, recipe="emoji")
    assert [cell.name for cell in found[:3]] == [
        "never_inherit_seed-0",
        "never_random_seed-0",
        "exponential_inherit_seed-0",
    ]
    assert len({cell.name for cell in found}) == 8 and len({cell.data_name for cell in found}) == 1
    for cell in found:
        recipe = cell.recipe
        assert recipe.p_random == cell.labels["p_random"] and recipe.student.init == cell.labels["student.init"]
        assert recipe.train.seed == recipe.student.seed == cell.seed
        assert (recipe.data.seed, recipe.evaluate.seed, recipe.compare, recipe.name) == (0, 1, {}, "student")


def test_comparisons_stay_where_they_are_swept() -> None:
    found = made("compare.without.p_random=never,linear", seeds=1, recipe="emoji")
    assert [list(cell.recipe.compare) for cell in found] == [["without"], ["without"]]


def test_cells_share_d_unless_what_it_is_made_of_is_swept() -> None:
    assert len({cell.data_name for cell in made("data.num_items=80,160")}) == 2
    corpora = "data.corpus=[{world: emoji, group: seen}, {world: emoji, group: all}]"
    assert len({cell.recipe.data.cache for cell in made(corpora)}) == 1


def test_names_of_folders_are_plain_and_unlike() -> None:
    found = made("p_random=[{name: sigmoid, k: 20}, {name: sigmoid, k: 2, centre: 0}, 'sigmoid:20']", seeds=1)
    names = [cell.name for cell in found]
    assert len(set(names)) == 3
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_") for name in names)
