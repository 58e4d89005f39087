"""Samples of several models as one file: a row per model, a column per prompt; sounds one after the other.

>>> import numpy as np
>>> found = sheet([np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 8, 8, 3), np.uint8)], rate=None)
>>> found.suffix, found.picture.shape
('png', (20, 32, 3))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from condistill.evaluate.media import webp
from condistill.evaluate.pictures import eight_bit, png
from condistill.evaluate.sounds import wavs

MOST_PIXELS = 256  # of a tile's longer side
GAP = 4  # pixels of white between tiles
SILENCE = 0.3  # seconds between sounds


@dataclass(frozen=True)
class Sheet:
    """One file.

    Attributes:
        suffix: "png", "webp" or "wav".
        content: the file's bytes.
        picture: what can be shown where only a picture can be: the middle frame of a video, nothing of a sound.
    """

    suffix: str
    content: bytes
    picture: UInt8[np.ndarray, "h w 3"] | None


def tiles(samples: np.ndarray, rate: int | None) -> np.ndarray | None:
    """What a sheet holds of n samples; None where they are neither pictures nor videos nor sounds.

    Pictures (n, h, w, 3) and videos (n, f, h, w, 3) in 8 bit, made smaller where they are large, or sounds
    (n, channels, t).

    Args:
        samples: as a pipeline gives them, pictures in [0, 1].
        rate: of sounds, in samples a second; None for the others.
    """
    if rate is not None:
        return samples.reshape(len(samples), -1, samples.shape[-1]).astype(np.float32)
    if samples.ndim not in (4, 5) or samples.shape[-1] not in (1, 3, 4):
        return None
    shown = eight_bit(samples[..., :3])
    return smaller(np.repeat(shown, 3, axis=-1) if shown.shape[-1] == 1 else shown)


def smaller(shown: UInt8[np.ndarray, "n ... 3"]) -> UInt8[np.ndarray, "n ... 3"]:
    """The pictures with no side longer than MOST_PIXELS, in their proportions."""
    from PIL import Image

    height, width = shown.shape[-3:-1]
    scale = MOST_PIXELS / max(height, width)
    if scale >= 1:
        return shown
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    flat = shown.reshape(-1, height, width, 3)
    made = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in flat]
    return np.stack(made).reshape(*shown.shape[:-3], size[1], size[0], 3)


def sheet(rows: Sequence[np.ndarray], *, rate: int | None) -> Sheet:
    """The tiles of every model, a row each, as one file.

    Args:
        rows: of `tiles`, all of one shape.
        rate: of sounds.
    """
    if rate is not None:
        silence = np.zeros((rows[0].shape[1], int(SILENCE * rate)), np.float32)
        parts = [part for column in zip(*rows, strict=True) for sound in column for part in (sound, silence)]
        return Sheet("wav", wavs(np.concatenate(parts[:-1], axis=-1)[None], rate)[0].tobytes(), None)
    whole = _spaced([_spaced(list(row), axis=-2) for row in rows], axis=-3)  # ([f,] h, w, 3)
    if whole.ndim == 3:
        return Sheet("png", png(whole), whole)
    return Sheet("webp", webp(whole), whole[len(whole) // 2])


def _spaced(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    shape = list(parts[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([one for part in parts for one in (part, gap)][:-1], axis=axis)
