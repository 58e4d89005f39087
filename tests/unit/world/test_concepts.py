"""The language of the emoji world."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condistill.errors import UserError
from condistill.world import emoji
from condistill.world.emoji.concepts import ALIASES, CONCEPT_INDEX, GROUPS


def test_there_are_enough_concepts_and_no_animal_is_seen():
    unseen = [concept for concept in emoji.CONCEPTS if not concept.seen]
    assert len(emoji.CONCEPTS) >= 60 and len(unseen) >= 24 and len(emoji.COLOURS) == 8
    assert {concept.group for concept in unseen} == {"Animals & Nature"}
    assert len(CONCEPT_INDEX) == len(emoji.CONCEPTS)


@given(st.integers(0, len(emoji.CONCEPTS) - 1), st.integers(0, len(emoji.COLOURS) - 1))
def test_a_caption_is_parsed_into_what_it_was_made_of(concept: int, colour: int):
    assert emoji.parse(emoji.caption(concept, colour)) == (concept, colour)


def test_captions_have_the_right_article():
    assert emoji.caption(CONCEPT_INDEX["owl"], 1) == "an owl on an orange background"
    assert emoji.caption(CONCEPT_INDEX["panda"], 3) == "a panda on a green background"


def test_groups_divide_all_prompts():
    seen, unseen, both = (emoji.prompts(group) for group in GROUPS)
    assert sorted(seen + unseen) == sorted(both) and not set(seen) & set(unseen)
    assert len(set(both)) == len(both) == len(emoji.CONCEPTS) * len(emoji.COLOURS)
    assert all(emoji.is_unseen(emoji.parse(prompt)[0]) for prompt in unseen)
    assert not any(emoji.is_unseen(emoji.parse(prompt)[0]) for prompt in seen)


def test_a_colour_in_the_name_is_not_the_background():
    assert emoji.parse("a red apple on a blue background") == (CONCEPT_INDEX["red apple"], 4)


def test_aliases_mean_concepts_and_are_understood():
    for alias, name in ALIASES.items():
        assert emoji.parse(f"{alias}, green background") == (CONCEPT_INDEX[name], 3)


@pytest.mark.parametrize("prompt", ["", "a submarine on a green background", "a panda", "a panda on grass"])
def test_a_prompt_of_another_world_is_refused_with_an_example(prompt: str):
    with pytest.raises(UserError, match="a panda on a green background"):
        emoji.parse(prompt)


def test_the_corpus_source_reads_its_spec_and_nothing_else():
    assert emoji.source({"world": "emoji", "group": "unseen"}) == emoji.prompts("unseen")
    assert emoji.source({"world": "emoji"}) == emoji.prompts("all")
    with pytest.raises(UserError, match="did you mean 'seen'"):
        emoji.source({"world": "emoji", "group": "sen"})
    with pytest.raises(UserError, match="did you mean 'group'"):
        emoji.source({"world": "emoji", "groups": "seen"})
