"""True pictures of the emoji world, drawn from the Noto colour emoji font (for training only)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from condistill.errors import UserError
from condistill.world.emoji.concepts import COLOURS, CONCEPTS

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # Debian: fonts-noto-color-emoji
NAMES = Path("/usr/share/unicode/emoji/emoji-test.txt")  # Debian: unicode-data
STRIKE = 109  # the only bitmap size in the font, pixels
FILL = 28 / 32  # share of the edge that an emoji takes: docs/log.md, recognisable against blobs


@dataclass(frozen=True)
class Renders:
    """All pictures of the world at one size: images (n, size, size, 3), concept (n,), colour (n,)."""

    images: UInt8[np.ndarray, "n h w 3"]
    concept: Int[np.ndarray, " n"]
    colour: Int[np.ndarray, " n"]


@lru_cache
def characters(path: Path = NAMES) -> dict[str, str]:
    """The emoji of every name in Unicode's emoji-test.txt.

    Raises:
        UserError: the file is not there.
    """
    if not path.is_file():
        raise UserError(f"no {path}; rendering the emoji world needs the Debian package unicode-data")
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if "; fully-qualified" in line:
            codes, comment = line.split(";")[0].split(), line.split("# ", 1)[1]
            found[comment.split(" ", 2)[2]] = "".join(chr(int(code, 16)) for code in codes)
    return found


def glyph(name: str, size: int, *, font: Path = FONT) -> Image.Image:
    """The emoji of this name, cropped to its ink and scaled so that its longer edge takes FILL of `size` (RGBA)."""
    if not font.is_file():
        raise UserError(f"no {font}; rendering the emoji world needs the Debian package fonts-noto-color-emoji")
    face = ImageFont.truetype(str(font), STRIKE)
    text = characters()[name].replace("\ufe0f", "")
    canvas = Image.new("RGBA", (2 * STRIKE, 2 * STRIKE))
    ImageDraw.Draw(canvas).text((STRIKE // 4, STRIKE // 4), text, font=face, embedded_color=True)
    ink = canvas.crop(canvas.getbbox())
    scale = FILL * size / max(ink.size)
    # reduced with premultiplied alpha, so that transparent black does not darken the edges
    small = ink.convert("RGBa").resize(
        (max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.LANCZOS
    )
    return small.convert("RGBA")


def place(ink: Image.Image, rgb: tuple[int, int, int], size: int, shift: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """The glyph centred on a solid background, moved by `shift` pixels."""
    canvas = Image.new("RGB", (size, size), rgb)
    left, top = (size - ink.width) // 2 + shift[0], (size - ink.height) // 2 + shift[1]
    canvas.paste(ink, (left, top), ink)
    return np.asarray(canvas)


def shifts(size: int) -> list[tuple[int, int]]:
    """The nine places an emoji takes: one pixel of 32 to each side, scaled with the size."""
    step = max(1, size // 32)
    return [(x, y) for y in (-step, 0, step) for x in (-step, 0, step)]


def render_all(size: int) -> Renders:
    """Every concept on every colour at every place."""
    images, concepts, colours = [], [], []
    for index, concept in enumerate(CONCEPTS):
        ink = glyph(concept.name, size)
        for number, colour in enumerate(COLOURS):
            for shift in shifts(size):
                images.append(place(ink, colour.rgb, size, shift))
                concepts.append(index)
                colours.append(number)
    return Renders(np.stack(images), np.array(concepts), np.array(colours))
