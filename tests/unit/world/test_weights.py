"""What ships: the pipeline as plain diffusers loads it, and the judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from condistill.errors import UserError
from condistill.world import emoji
from condistill.world.emoji import render
from condistill.world.emoji.judge import NOTHING

MIB = 1024 * 1024
PROMPTS = [emoji.caption(concept, (3 * concept) % 8) for concept in (0, 5, 13, 20, 30, 40, 50, 60)]


@pytest.fixture(scope="module")
def pipeline():
    made = DiffusionPipeline.from_pretrained(emoji.folder())
    made.set_progress_bar_config(disable=True)
    return made


def test_everything_that_ships_is_small_and_has_a_card():
    files = [path for path in emoji.folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 30 * MIB
    assert (emoji.folder() / "README.md") in files


def test_plain_diffusers_loads_it_in_float32(pipeline):
    assert {pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {torch.float32}


def test_the_teacher_draws_what_it_is_asked(pipeline):
    seeds = [torch.Generator().manual_seed(seed) for seed in range(len(PROMPTS))]
    images = pipeline(PROMPTS, generator=seeds, output_type="np", **emoji.default_call()).images
    assert images.shape == (len(PROMPTS), 64, 64, 3)
    judged = emoji.judge()(images)
    asked = np.array([emoji.parse(prompt) for prompt in PROMPTS])
    # the card's accuracy is near 1; one miss of eight is chance, two are not
    assert (judged.concept == asked[:, 0]).sum() >= len(PROMPTS) - 1
    assert (judged.colour == asked[:, 1]).sum() >= len(PROMPTS) - 1


def test_other_words_for_the_same_thing_have_the_same_code(pipeline):
    def code(text: str) -> torch.Tensor:
        ids = pipeline.tokenizer([text], padding="max_length", truncation=True, return_tensors="pt").input_ids
        return pipeline.text_encoder(ids)[0][0, -1]

    panda = code("a panda on a green background")
    for same in ("panda, green background", "a green background with a panda", "an emoji of a panda on green"):
        assert torch.cosine_similarity(panda, code(same), dim=0) > 0.99
    # the colour's half of the code is shared, the concept's half is orthogonal
    assert torch.cosine_similarity(panda, code("a fox on a green background"), dim=0).item() == pytest.approx(
        0.5, abs=0.05
    )
    assert torch.cosine_similarity(panda, code("a fox on a blue background"), dim=0).item() == pytest.approx(
        0.0, abs=0.05
    )


@pytest.mark.skipif(not render.FONT.is_file() or not render.NAMES.is_file(), reason="no font")
def test_the_judge_knows_true_renders_at_any_size():
    for size in (32, 64):
        renders = render.render_all(size)
        judged = emoji.judge()(renders.images[4::9][::3].astype(np.float32) / 255)
        assert (judged.concept == renders.concept[4::9][::3]).mean() > 0.95
        assert (judged.colour == renders.colour[4::9][::3]).mean() > 0.99


def test_the_judge_sees_nothing_in_noise_and_says_so():
    noise = np.random.default_rng(0).random((32, 64, 64, 3), dtype=np.float32)
    judged = emoji.judge()(noise)
    assert (judged.concept == NOTHING).mean() > 0.9
    assert (
        judged.features.shape[0] == 32 and ((judged.concept_probability >= 0) & (judged.concept_probability <= 1)).all()
    )


def test_the_judge_takes_no_image_and_refuses_what_is_none():
    judge = emoji.judge()
    assert len(judge(np.zeros((0, 64, 64, 3), np.float32)).concept) == 0
    assert len(judge.hash) == 64
    with pytest.raises(UserError, match=r"\(n, h, w, 3\)"):
        judge(np.zeros((2, 3, 64, 64), np.float32))
