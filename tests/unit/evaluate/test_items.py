"""Which prompts and seeds an evaluation uses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from condistill.evaluate.items import choose, grid_rows
from condistill.evaluate.sampling import slug
from condistill.world import emoji


@given(st.integers(1, 20), st.integers(1, 45), st.integers(0, 5))
def test_prompts_are_used_evenly_and_seeds_never_meet(num_keys, n, seed):
    (items,) = choose({"g": [f"p{k}" for k in range(num_keys)]}, num_items=n, seed=seed)
    counts = [items.keys.count(key) for key in {f"p{k}" for k in range(num_keys)}]
    assert len(items) == n and max(counts) - min(counts) <= 1
    assert not set(items.seeds) & set(items.reference_seeds)
    assert len(set(items.seeds)) == n


def test_a_larger_evaluation_begins_with_the_smaller_one():
    keys = {"g": ["a", "b", "c", "d"]}
    (few,), (many,) = choose(keys, num_items=3, seed=0), choose(keys, num_items=10, seed=0)
    assert many.keys[:3] == few.keys and many.seeds[:3] == few.seeds


def test_groups_do_not_depend_on_each_other():
    alone = choose({"b": [1, 2, 3]}, num_items=None, seed=0)[0]
    assert choose({"a": [7], "b": [1, 2, 3]}, num_items=None, seed=0)[1] == alone


def test_prompts_may_be_corpus_specs():
    world = {"world": "emoji", "group": "unseen"}
    (whole,) = choose(world, num_items=5, seed=0)
    (named,) = choose({"animals": world}, num_items=None, seed=0)
    assert (whole.group, named.group) == ("all", "animals")
    assert set(named.keys) == set(emoji.prompts("unseen")) and len(whole) == 5


def test_the_grid_shows_different_kinds_first():
    (items,) = choose({"g": [1, 11, 21, 2, 12]}, num_items=None, seed=3)
    rows = grid_rows(items, 2, lambda key: key % 10)
    assert {int(str(items.keys[row])) % 10 for row in rows} == {1, 2}
    assert grid_rows(items, 9) == [0, 1, 2, 3, 4]


def test_slug_is_a_safe_file_name():
    assert slug("../../etc/pa ss<wd>") == "etc-pa-ss-wd"
    assert slug("///") == "model"
