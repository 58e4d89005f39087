"""Samples as the bytes of files: pictures as PNG, sounds as WAV, videos as animated WebP.

>>> import numpy as np
>>> suffix, files = encoded(np.zeros((2, 8, 8, 3)), rate=None)
>>> suffix, [file[1:4] for file in files]
('png', [b'PNG', b'PNG'])
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from PIL import Image

FRAME_MILLISECONDS = 125  # pipelines do not say how fast their frames follow each other


def encoded(samples: Float[np.ndarray, "n ..."], *, rate: int | None) -> tuple[str, list[bytes]] | None:
    """The suffix and the bytes of one file per sample; None where samples are neither of the three.

    Args:
        samples: pictures (n, h, w, c) or videos (n, f, h, w, c) in [0, 1]; sounds (n, t) or (n, channels, t).
        rate: of sounds, in samples a second; None for the others.
    """
    if rate is not None:
        from condistill.evaluate.sounds import wavs

        return "wav", [sound.tobytes() for sound in wavs(samples, rate)]
    if samples.ndim == 4:
        return "png", [_png(_frames(picture[None])[0]) for picture in samples]
    if samples.ndim == 5:
        return "webp", [_webp(_frames(video)) for video in samples]
    return None


def _frames(video: Float[np.ndarray, "f h w c"]) -> list[Image.Image]:
    from PIL import Image

    frames = (video.clip(0, 1) * 255).round().astype("uint8")
    return [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in frames]


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def _webp(frames: list[Image.Image]) -> bytes:
    stream = io.BytesIO()
    first, *others = frames
    first.save(
        stream, format="WEBP", save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0, lossless=True
    )
    return stream.getvalue()
