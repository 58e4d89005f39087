"""Samples as files that others read."""

from __future__ import annotations

import io
import wave

import numpy as np
from PIL import Image

from condistill.evaluate.media import FRAME_MILLISECONDS, encoded


def test_a_video_is_an_animation_with_every_frame() -> None:
    video = np.zeros((1, 3, 8, 8, 3), dtype=np.float32)
    video[0, 1], video[0, 2, ..., 0] = 1.0, 1.0
    suffix, (content,) = encoded(video, rate=None) or ("", [b""])
    with Image.open(io.BytesIO(content)) as opened:
        assert (suffix, opened.format, opened.n_frames) == ("webp", "WEBP", 3)
        seen = []
        for k in range(3):
            opened.seek(k)
            seen.append(opened.convert("RGB").getpixel((0, 0)))
        assert opened.info["duration"] == FRAME_MILLISECONDS
    assert seen == [(0, 0, 0), (255, 255, 255), (255, 0, 0)]  # lossless


def test_pictures_grey_and_coloured_and_sounds() -> None:
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        suffix, files = encoded(np.ones((2, 4, 4, channels)), rate=None) or ("", [])
        assert suffix == "png" and [Image.open(io.BytesIO(one)).mode for one in files] == [mode] * 2
    suffix, (content,) = encoded(np.zeros((1, 2, 50)), rate=100) or ("", [b""])
    with wave.open(io.BytesIO(content)) as sound:
        assert (suffix, sound.getnchannels(), sound.getnframes(), sound.getframerate()) == ("wav", 2, 50, 100)


def test_what_is_neither_is_said() -> None:
    assert encoded(np.zeros((2, 5)), rate=None) is None
