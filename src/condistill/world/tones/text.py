"""The text side of the tones world: a T5 encoder without layers, so every word is a fixed code and nothing else.

A text model that learns together with the sounds would let them leak into the words (docs/log.md). The codes are random
and orthogonal, and they know nothing of any sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from condistill.maths import draws
from condistill.world.tones.concepts import ARTICULATIONS, PITCHES, TIMBRES

WIDTH = 64
MAX_TOKENS = 10  # a caption has seven words, and the end of the text
FILLER = ("a", "an", "the", "playing", "note", "sound", "of", "on", "with", "and", "in", "to")


def make_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer of the world's words; any other word is unknown."""
    words = [*FILLER, *(timbre.name for timbre in TIMBRES), *PITCHES, *ARTICULATIONS]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *[(f"\u2581{word}", -1.0) for word in words]]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=MAX_TOKENS)


def make_text_encoder(tokenizer: T5Tokenizer, seed: int) -> T5EncoderModel:
    """The encoder: the code of each token, as its only weights."""
    num = len(tokenizer)
    config = T5Config(
        vocab_size=num, d_model=WIDTH, d_kv=8, d_ff=8, num_layers=0, num_heads=1, pad_token_id=0, eos_token_id=1
    )
    encoder = T5EncoderModel(config).eval().requires_grad_(False)
    drawn = draws.normal(seed, "tones codes", draws.numbers(0, 1), (WIDTH, num))[0].double()
    codes = torch.linalg.qr(drawn).Q.T.float() * WIDTH**0.5  # (num, WIDTH) of unit mean square
    encoder.shared.weight.copy_(codes)
    return encoder


@torch.no_grad()
def encode(encoder: Any, tokenizer: Any, texts: Sequence[str]) -> Float[Tensor, "n f d"]:
    """The codes as the pipeline hands them on: zero after the end of the text."""
    found = tokenizer(list(texts), padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    codes = encoder(found["input_ids"], attention_mask=found["attention_mask"])[0]
    return codes * found["attention_mask"].unsqueeze(-1)
