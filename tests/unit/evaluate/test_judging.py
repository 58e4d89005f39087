"""The emoji world's judge as evaluation uses it: its language, its groups, what it sees."""

from __future__ import annotations

import numpy as np
import pytest

from condistill.errors import UserError
from condistill.evaluate.judging import WorldJudging
from condistill.world import emoji
from condistill.world.emoji.judge import Judge, JudgeNetwork


@pytest.fixture(scope="module")
def untrained() -> WorldJudging:
    return WorldJudging("world", Judge(JudgeNetwork(), weights_hash="untrained"))


def test_it_knows_what_every_prompt_of_its_world_asks_for(untrained):
    concept, colour = untrained.asked(emoji.prompts())
    assert [emoji.caption(a, b) for a, b in zip(concept, colour, strict=True)] == emoji.prompts()


def test_it_splits_prompts_as_the_world_does(untrained):
    for group in ("seen", "unseen"):
        assert {untrained.group(key) for key in emoji.prompts(group)} == {group}


def test_it_looks_at_images_of_any_size_in_any_batch(untrained):
    images = np.random.default_rng(0).random((3, 32, 32, 3), dtype=np.float32)
    seen = untrained.look(images)
    assert seen.concept.shape == seen.colour.shape == (3,) and len(seen.features) == 3
    # one image alone takes other kernels, which round differently in float32
    np.testing.assert_allclose(untrained.look(images[:1]).features, seen.features[:1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("key", ["a quasar on a green background", "a panda", 7])
def test_it_names_what_it_cannot_read(untrained, key):
    with pytest.raises(UserError):
        untrained.asked([key])
