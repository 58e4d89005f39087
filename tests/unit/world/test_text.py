"""The text side of the emoji world: wordings, tokenizer, codes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from condistill.maths import draws
from condistill.world.emoji import CONCEPTS, parse, prompts
from condistill.world.emoji.text import (
    MAX_TOKENS,
    NO_COLOUR,
    NO_CONCEPT,
    WIDTH,
    codes,
    draw_captions,
    make_tokenizer,
    tokenize,
)


@lru_cache
def made() -> CLIPTokenizer:
    return make_tokenizer()


@pytest.fixture
def tokenizer() -> CLIPTokenizer:
    return made()


def test_every_wording_asks_for_what_its_labels_say():
    drawn = draw_captions(0, "test", draws.numbers(0, 3000), main=0.2)
    both = (drawn.concept != NO_CONCEPT) & (drawn.colour != NO_COLOUR)
    for text, concept, colour in zip(np.array(drawn.texts)[both], drawn.concept[both], drawn.colour[both], strict=True):
        assert parse(str(text)) == (concept, colour)
    assert "" in drawn.texts and 0.7 < both.mean() < 0.9


def test_a_caption_does_not_depend_on_its_batch():
    whole = draw_captions(3, "test", draws.numbers(0, 40), main=0.5)
    part = draw_captions(3, "test", draws.numbers(30, 10), main=0.5)
    assert whole.texts[30:] == part.texts


def test_every_word_of_the_captions_is_one_token(tokenizer):
    for prompt in prompts("all"):
        assert len(tokenizer.tokenize(prompt)) == len(prompt.split()) <= MAX_TOKENS - 2


def test_no_wording_is_cut_off(tokenizer):
    drawn = draw_captions(0, "test", draws.numbers(0, 3000), main=0.0)
    assert (tokenize(tokenizer, drawn.texts)[:, -1] == tokenizer.eos_token_id).all()


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_any_text_becomes_tokens(text: str):
    ids = tokenize(made(), [text])
    assert ids.shape == (1, MAX_TOKENS) and ids[0, 0] == made().bos_token_id


def test_codes_are_orthogonal_and_survive_a_layer_norm():
    concept, colour = codes(0)
    together = torch.cat([concept, colour])
    assert concept.shape == (len(CONCEPTS) + 1, WIDTH)
    # float32 rounding of a QR in float64
    torch.testing.assert_close(together @ together.T, torch.eye(len(together)) * WIDTH / 2, atol=1e-4, rtol=0)
    summed = concept[5] + colour[2]
    torch.testing.assert_close(torch.nn.functional.layer_norm(summed, (WIDTH,), eps=0.0), summed, atol=1e-4, rtol=0)
