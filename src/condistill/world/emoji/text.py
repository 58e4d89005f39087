"""The text side of the emoji world: a tokenizer of its own and a small CLIP text model, trained on text alone.

A text model that learns together with the images lets looks leak into the text: a student that never saw a frog then
draws it green (docs/log.md). So the model learns here to turn every way of saying a caption into one fixed code:
the sum of a concept's and a colour's vector, all of them orthogonal to each other. The codes know nothing of any image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from condistill.maths import draws
from condistill.world.emoji.concepts import ALIASES, COLOURS, CONCEPTS, article, caption
from condistill.world.emoji.timed import Budget, placed, train_timed

WIDTH = 96
MAX_TOKENS = 16
BATCH = 256
NO_CONCEPT, NO_COLOUR = len(CONCEPTS), len(COLOURS)

# {thing}: "a panda", {name}: "panda", {colour}: "green", {a_colour}: "a green", {adjective}: a word without effect
TEMPLATES = (
    "{thing} on {a_colour} background",
    "{thing} on {colour}",
    "{name} on {colour}",
    "{name}, {colour} background",
    "{name} on a {colour} background",
    "{a_colour} background with {thing}",
    "an emoji of {thing} on {colour}",
    "a picture of {thing} on {a_colour} background",
    "the {adjective} {name} on {a_colour} background",
    "{a_adjective} {name} in front of {a_colour} wall",
)
WITHOUT_COLOUR = ("{thing}", "{name}", "an emoji of {thing}", "a picture of {a_adjective} {name}")
WITHOUT_CONCEPT = ("{a_colour} background", "{colour}", "something on {a_colour} background", "")
ADJECTIVES = ("cute", "small", "big", "nice", "happy", "simple", "old", "plain", "shiny", "funny", "little", "good")
FILLER = "photo drawing image icon cartoon of and the an in at by for to with this that is it its my your two one three"


@dataclass(frozen=True)
class Captions:
    """Texts with the concept (n,) and colour (n,) they ask for; NO_CONCEPT, NO_COLOUR where they ask for none."""

    texts: list[str]
    concept: Int[np.ndarray, " n"]
    colour: Int[np.ndarray, " n"]


def draw_captions(seed: int, purpose: str, samples: np.ndarray, *, main: float) -> Captions:
    """One caption per sample number: the main sentence with probability `main`, otherwise some other wording."""

    def pick(what: str, high: int) -> np.ndarray:
        return draws.integers(seed, f"{purpose} {what}", samples, high)

    concept, colour = pick("concept", len(CONCEPTS)), pick("colour", len(COLOURS))
    template, adjective, wording = pick("template", 1000), pick("adjective", len(ADJECTIVES)), pick("wording", 3)
    kind = draws.uniforms(seed, f"{purpose} kind", samples)
    texts = []
    for row in range(len(samples)):
        share = (kind[row] - main) / (1 - main) if main < 1 else -1.0
        if share < 0:
            texts.append(caption(int(concept[row]), int(colour[row])))
            continue
        templates = TEMPLATES if share < 0.7 else WITHOUT_COLOUR if share < 0.85 else WITHOUT_CONCEPT
        words = _words(int(concept[row]), int(colour[row]), ADJECTIVES[adjective[row]], other=wording[row] == 0)
        texts.append(templates[template[row] % len(templates)].format(**words))
        if templates is WITHOUT_COLOUR:
            colour[row] = NO_COLOUR
        if templates is WITHOUT_CONCEPT:
            concept[row] = NO_CONCEPT
            colour[row] = colour[row] if texts[-1] else NO_COLOUR
    return Captions(texts, concept, colour)


def _words(concept: int, colour: int, adjective: str, *, other: bool) -> dict[str, str]:
    name = CONCEPTS[concept].name
    others = [alias for alias, meant in ALIASES.items() if meant == name]
    name = others[0] if other and others else name
    ground = COLOURS[colour].name
    return {
        "name": name,
        "thing": article(name),
        "colour": ground,
        "a_colour": article(ground),
        "adjective": adjective,
        "a_adjective": article(adjective),
    }


def make_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer to which every word of the captions is one token, and any other text a few."""
    vocabulary = [*ALIASES, *ADJECTIVES, FILLER, *(concept.name for concept in CONCEPTS), *(c.name for c in COLOURS)]
    words = sorted({word for text in [*vocabulary, *TEMPLATES, *WITHOUT_COLOUR] for word in _plain_words(text)})
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(vocab_size=20_000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    bpe.train_from_iterator(words, trainer)
    merges = _merges(bpe)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)  # pyright: ignore[reportArgumentType]


def _plain_words(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()


def _merges(bpe: Tokenizer) -> list[tuple[str, str]]:
    import json

    return [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]


def _special(tokenizer: CLIPTokenizer) -> tuple[int, int]:
    bos, eos = (tokenizer.convert_tokens_to_ids(token) for token in ("<|startoftext|>", "<|endoftext|>"))
    assert isinstance(bos, int) and isinstance(eos, int)
    return bos, eos


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text model of the size that the world needs."""
    bos, eos = _special(tokenizer)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=eos,
        )
    )


def codes(seed: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """The code of every concept and of every colour, the last of each for "none".

    All are orthogonal to each other and to the vector of ones, so that a layer norm leaves a sum of two as it is; such
    a sum has unit mean square.
    """
    num = NO_CONCEPT + 1 + NO_COLOUR + 1
    drawn = draws.normal(seed, "text codes", draws.numbers(0, 1), (WIDTH, num))[0].double()
    basis, _ = torch.linalg.qr(torch.cat([torch.ones(WIDTH, 1, dtype=torch.float64), drawn], dim=1))
    vectors = basis[:, 1 : num + 1].T.float() * (WIDTH / 2) ** 0.5  # (num, d)
    return vectors[: NO_CONCEPT + 1], vectors[NO_CONCEPT + 1 :]


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Int[Tensor, "n f"]:
    """Token numbers, padded to MAX_TOKENS as a pipeline pads them."""
    found = tokenizer(list(texts), padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    return found["input_ids"]  # pyright: ignore[reportReturnType]


def train_text_encoder(tokenizer: CLIPTokenizer, budget: Budget) -> CLIPTextModel:
    """The trained text model: from the end of the text on, every position carries the code of what it asks for."""
    torch.manual_seed(budget.seed)
    model = placed(make_text_encoder(tokenizer), budget.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    concept_codes, colour_codes = (table.to(budget.device) for table in codes(budget.seed))

    _, eos = _special(tokenizer)

    def step(number: int) -> dict[str, float]:
        drawn = draw_captions(budget.seed, "text", draws.numbers(number * BATCH, BATCH), main=0.25)
        ids = tokenize(tokenizer, drawn.texts).to(budget.device)
        wanted = concept_codes[torch.from_numpy(drawn.concept)] + colour_codes[torch.from_numpy(drawn.colour)]
        ended = ids.eq(eos).float()  # (n, f): the end and the padding after it
        error = (model(ids).last_hidden_state - wanted[:, None]).square().mean(dim=-1)
        loss = (error * ended).sum() / ended.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item()}

    train_timed(step, budget, what="text encoder", optimizer=optimizer, parts={"text": model}, images_per_step=BATCH)
    return model.eval()


@torch.no_grad()
def encode(model: CLIPTextModel, tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Float[Tensor, "n f d"]:
    """The hidden states that a pipeline hands to its denoiser."""
    return model(tokenize(tokenizer, texts).to(model.device)).last_hidden_state


def accuracy(model: CLIPTextModel, tokenizer: CLIPTokenizer, seed: int, *, num: int = 2000) -> tuple[float, float]:
    """The shares of new captions whose code is nearest to the right concept and to the right colour."""
    drawn = draw_captions(seed, "text accuracy", draws.numbers(0, num), main=0.0)
    last = encode(model, tokenizer, drawn.texts)[:, -1].cpu()
    concept_codes, colour_codes = codes(seed)
    concept, colour = (last @ concept_codes.T).argmax(1).numpy(), (last @ colour_codes.T).argmax(1).numpy()
    return float((concept == drawn.concept).mean()), float((colour == drawn.colour).mean())
