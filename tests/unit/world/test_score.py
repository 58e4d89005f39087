"""How the teacher is scored, and the picture of it."""

from __future__ import annotations

import numpy as np
import pytest

from condistill.world import emoji
from condistill.world.emoji import render, score

needs_font = pytest.mark.skipif(not render.FONT.is_file() or not render.NAMES.is_file(), reason="no font")


@needs_font
def test_true_renders_score_one_and_exchanged_ones_are_named():
    renders = render.render_all(64)
    images = renders.images[4::9].astype(np.float32) / 255
    prompts = emoji.prompts("all")
    found = score.score(images, prompts)
    assert found["all"] == {"concept": 1.0, "colour": 1.0, "n": len(prompts)} and found["missed"] == {}
    images[:8] = images[8:16]  # every panda becomes a fox
    found = score.score(images, prompts)
    assert found["missed"] == {"panda": 1.0}
    assert found["unseen"]["concept"] == pytest.approx(1 - 8 / found["unseen"]["n"])
    assert found["seen"]["concept"] == 1.0


def test_a_grid_shows_image_k_in_row_and_column():
    images = np.linspace(0, 1, 7, dtype=np.float32)[:, None, None, None] * np.ones((7, 4, 4, 3), np.float32)
    picture = np.asarray(score.grid(images, columns=3))
    assert picture.shape == (8, 12, 3)  # whole rows only
    assert picture[5, 9, 0] == round(255 * 5 / 6)
