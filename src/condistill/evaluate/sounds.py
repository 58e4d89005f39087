"""Sounds in an evaluation: how many samples a second they have, and the bytes of a file.

>>> wavs(np.zeros((1, 8)), 8000)[0, :4].tobytes()
b'RIFF'
"""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8


def sampling_rate(pipeline: Any, samples: np.ndarray | None) -> int | None:
    """Samples a second of the sounds that a pipeline made, as its codec, vocoder or denoiser says.

    None where they are no sounds: pictures and frames have more dimensions than (n, t) and (n, channels, t), and where
    vectors come out no part has a rate.
    """
    if samples is None or samples.ndim > 3:
        return None
    configs = [getattr(part, "config", None) for part in pipeline.components.values()]
    rates = [getattr(config, name, None) for config in configs for name in ("sampling_rate", "sample_rate")]
    return next((rate for rate in rates if isinstance(rate, int)), None)


def wavs(sounds: Float[np.ndarray, "n ..."], rate: int) -> UInt8[np.ndarray, "n k"]:
    """Sounds in [-1, 1], (n, t) or (n, channels, t), each as the bytes of a WAV file with 16 bits a sample."""
    return np.stack([np.frombuffer(_wav(np.atleast_2d(sound), rate), dtype=np.uint8) for sound in sounds])


def _wav(channels: Float[np.ndarray, "c t"], rate: int) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((channels.T.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
    return stream.getvalue()
