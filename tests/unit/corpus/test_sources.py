"""Lists, labels, mixtures, hold-outs: what is drawn, how often, and what was cut."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condistill import UserError, corpus
from condistill.maths.draws import numbers, uniforms

U = uniforms(0, "condition", numbers(0, 12_000))


@given(st.integers(1, 50), st.lists(st.floats(0, 1, exclude_max=True), max_size=20))
def test_draws_are_rows(size: int, draws: list[float]) -> None:
    found = corpus({"labels": size})
    assert all(0 <= key < size for key in found.draw(np.array(draws)))  # type: ignore[operator]


def test_drawing_is_uniform_with_replacement() -> None:
    counts = Counter(corpus(["a", "b", "c"]).draw(U))
    # 12,000 draws of 3: standard deviation 52
    assert all(abs(count - 4000) < 210 for count in counts.values()) and len(counts) == 3


def test_mixture_draws_by_weight_or_by_size() -> None:
    small, large = ["a"], [f"b{k}" for k in range(9)]
    by_size = Counter(key[0] for key in corpus({"mixture": [{"source": small}, {"source": large}]}).draw(U))
    assert by_size["a"] == pytest.approx(1200, abs=140)
    weighted = {"mixture": [{"source": small, "weight": 3}, {"source": large, "weight": 1}]}
    by_weight = Counter(key[0] for key in corpus(weighted).draw(U))
    assert by_weight["a"] == pytest.approx(9000, abs=200)
    assert [corpus(weighted)[k] for k in (0, 1, 9)] == ["a", "b0", "b8"]
    assert set(corpus({"mixture": [{"source": small, "weight": 0}, {"source": large, "weight": 1}]}).draw(U)) == set(
        large
    )


def test_any_source_of_a_mixture_takes_a_weight() -> None:
    found = corpus({"mixture": [{"labels": 3, "weight": 0}, {"source": ["a", "a"], "unique": True, "weight": 1}]})
    assert set(found.draw(U[:50])) == {"a"} and len(found) == 4
    assert [part["weight"] for part in found.describe()["of"]] == [0.0, 1.0]


@pytest.mark.parametrize("edge", [0.0, 0.1, 0.5, 1.0 - 2**-53])
def test_mixture_takes_the_ends_of_its_line(edge: float) -> None:
    assert len(corpus({"mixture": [["a"], {"labels": 9}]}).draw(np.array([edge]))) == 1


TEXTS = ["a red fox", "Two FOXES", "a foxglove", "wolves at night", "a pony", "three ponies", "the sea"]


def test_holdout_by_words_takes_whole_words_in_any_number() -> None:
    rule = {"words": ["fox", "wolf", "pony"]}
    seen = corpus({"source": TEXTS, "holdout": rule})
    unseen = corpus({"source": TEXTS, "holdout": rule, "keep": "unseen"})
    assert list(seen) == ["a foxglove", "the sea"]
    assert sorted([*seen, *unseen]) == sorted(TEXTS)
    assert unseen.report.num_unseen == 5 and unseen.report.by_word["foxes"] == 1
    assert unseen.describe()["by_word"]["foxes"] == unseen.describe()["num_unseen"] - 4 == 1
    assert "held out 5 of 7 rows" in str(unseen.report) and unseen.report.examples[0] == "a red fox"


def test_holdout_by_regex_and_by_file(tmp_path: Path) -> None:
    assert list(corpus({"source": TEXTS, "holdout": {"regex": "fox|sea"}, "keep": "seen"})) == [TEXTS[1], *TEXTS[3:6]]
    (tmp_path / "words.txt").write_text("sea\nfox\n")
    found = corpus({"source": TEXTS, "holdout": {"words_file": "words.txt"}}, base=tmp_path, cache_dir=tmp_path)
    assert list(found) == TEXTS[2:6]


def test_unique_keeps_first_rows() -> None:
    found = corpus({"source": ["b", "a", "b", "c", "a"], "unique": True})
    assert list(found) == ["b", "a", "c"] and found.num_duplicates == 2


@given(st.lists(st.text(max_size=2), min_size=1, max_size=30))
def test_unique_is_that_of_a_dict(rows: list[str]) -> None:
    assert list(corpus({"source": rows, "unique": True})) == list(dict.fromkeys(rows))


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=20))
def test_seen_and_unseen_are_all_rows(rows: list[str]) -> None:
    rule = {"source": ["a fox", "the sea", *rows], "holdout": {"words": ["fox", "wolf", "pony"]}}
    seen, unseen = corpus(rule), corpus({**rule, "keep": "unseen"})
    assert Counter([*seen, *unseen]) == Counter(rule["source"])
    assert len(unseen) == seen.report.num_unseen == unseen.report.num_unseen == sum(unseen.report.by_word.values())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ([], "is empty"),
        ({"labels": 0}, "at least 1"),
        ({"lables": 3}, "did you mean 'labels'"),
        ({"labels": 3, "colum": "x"}, "unknown field of the labels corpus 'colum'"),
        ({"mixture": []}, "list of sources"),
        ({"mixture": [{"source": ["a"], "weight": 1}, ["b"]]}, "for every source or for none"),
        ({"mixture": [{"source": ["a"], "weight": -1}]}, "not negative"),
        ({"source": ["a"], "holdout": {"regex": "("}}, "not valid"),
        ({"source": ["a"], "holdout": {"words": []}}, "at least one word"),
        ({"source": ["a"], "holdout": {"word": ["a"]}}, "did you mean 'words'"),
        ({"source": ["a"], "keep": "seen"}, "no effect without holdout"),
        ({"source": ["a"], "holdout": {"words": ["a"]}}, "nothing is left"),
        ({"world": "emojy"}, "did you mean 'emoji'"),
        ({"world": "emoji", "group": "sene"}, "seen"),
        (3.5, "got float"),
        ({"mixture": [{"source": ["a"], "weight": "2"}]}, "must be numbers"),
        ({"source": ["a"], "weight": 2}, "unknown field of the source corpus 'weight'"),
        ({"source": ["a"], "unique": "yes"}, "must be true or false"),
        ({"source": ["a"], "holdout": {"words": 3}}, "must be a list of texts"),
        ({"source": ["a"], "holdout": ["a"]}, "exactly one of"),
        ("a panda on a green background", "given as a list"),
        ([True], "must be a string"),
        ([1.5], "must be a string, an integer or a mapping"),
    ],
)
def test_mistakes_are_named(spec: object, words: str) -> None:
    with pytest.raises(UserError) as error:
        corpus(spec)
    assert words in str(error.value)


def test_descriptions_tell_corpora_apart() -> None:
    assert corpus(["a", "b"]).describe() == corpus(("a", "b")).describe() != corpus(["a", "c"]).describe()
