"""Samples as the bytes of files: pictures as PNG, sounds as WAV, videos as animated WebP.

>>> import numpy as np
>>> suffix, files = encoded(np.zeros((2, 8, 8, 3)), rate=None)
>>> suffix, [file[1:4] for file in files]
('png', [b'PNG', b'PNG'])
"""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float, UInt8

FRAME_MILLISECONDS = 125  # pipelines do not say how fast their frames follow each other


def encoded(samples: Float[np.ndarray, "n ..."], *, rate: int | None) -> tuple[str, list[bytes]] | None:
    """The suffix and the bytes of one file per sample; None where samples are neither of the three.

    Args:
        samples: pictures (n, h, w, c) or videos (n, f, h, w, c) in [0, 1]; sounds (n, t) or (n, channels, t).
        rate: of sounds, in samples a second; None for the others.
    """
    from condistill.evaluate.pictures import eight_bit, png
    from condistill.evaluate.sounds import wavs

    if rate is not None:
        return "wav", [sound.tobytes() for sound in wavs(samples, rate)]
    if samples.ndim not in (4, 5):
        return None
    shown = eight_bit(samples)
    shown = shown[..., 0] if shown.shape[-1] == 1 else shown  # grey
    return ("png", list(map(png, shown))) if samples.ndim == 4 else ("webp", list(map(webp, shown)))


def webp(video: UInt8[np.ndarray, "f h w ..."]) -> bytes:
    """The video as the bytes of an animated WebP file, lossless."""
    from PIL import Image

    stream, (first, *others) = io.BytesIO(), map(Image.fromarray, video)
    first.save(
        stream, format="WEBP", save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0, lossless=True
    )
    return stream.getvalue()
