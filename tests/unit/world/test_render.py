"""True pictures of the world; skipped where the Debian packages are not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from condistill.errors import UserError
from condistill.world.emoji import COLOURS, CONCEPTS, render

needs_font = pytest.mark.skipif(
    not (render.FONT.is_file() and render.NAMES.is_file()), reason="no Noto colour emoji font or no Unicode data"
)


@needs_font
def test_every_concept_is_in_the_unicode_list():
    assert [concept.name for concept in CONCEPTS if concept.name not in render.characters()] == []


@needs_font
def test_renders_are_ordered_by_concept_colour_and_place():
    renders = render.render_all(32)
    places = len(render.shifts(32))
    assert renders.images.shape == (len(CONCEPTS) * len(COLOURS) * places, 32, 32, 3)
    row = (5 * len(COLOURS) + 2) * places + 4
    assert (renders.concept[row], renders.colour[row]) == (5, 2)
    assert renders.images[row, 0, 0].tolist() == list(COLOURS[2].rgb)


@needs_font
@pytest.mark.parametrize("size", [32, 64])
def test_a_glyph_fills_its_share_and_is_centred(size: int):
    ink = render.glyph("panda", size)
    assert max(ink.size) == round(render.FILL * size)
    different = (render.place(ink, (0, 255, 0), size, (0, 0)) != np.array([0, 255, 0])).any(axis=2)
    rows, columns = np.nonzero(different.any(1))[0], np.nonzero(different.any(0))[0]
    for first, last in ((rows[0], rows[-1]), (columns[0], columns[-1])):
        assert abs(int(first) - (size - 1 - int(last))) <= 2  # an odd edge cannot be centred; one row may be faint


def test_missing_data_names_the_package():
    with pytest.raises(UserError, match="unicode-data"):
        render.characters(Path("/nowhere/emoji-test.txt"))
    with pytest.raises(UserError, match="fonts-noto-color-emoji"):
        render.glyph("panda", 32, font=Path("/nowhere/font.ttf"))
