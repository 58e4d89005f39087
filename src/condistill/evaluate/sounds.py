"""Sounds in an evaluation: the judge of the embedded tones world, and sounds as the bytes of a file.

>>> wavs(np.zeros((1, 8)), 8000)[0, :4].tobytes()
b'RIFF'
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from condistill.errors import UserError
from condistill.evaluate.judging import Seen
from condistill.maths.randomise import Key

if TYPE_CHECKING:
    from condistill.world.tones.listen import Judge


class TonesJudging:
    """The judge of the embedded tones world; a timbre is its concept and a pitch its colour."""

    def __init__(self, judge: Judge | None = None) -> None:
        from condistill.world import tones

        self._tones, self._judge = tones, judge or tones.judge()
        self.identity = self._judge.hash
        self.default_call: Mapping[str, Any] = tones.default_call()

    def asked(self, keys: Sequence[Key]) -> tuple[np.ndarray, np.ndarray]:
        """Timbre and pitch that each key asks for, (n,) each.

        Raises:
            UserError: a key that is no sentence of the world.
        """
        pairs = np.array([self._parsed(key) for key in keys], dtype=np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def _parsed(self, key: Key) -> tuple[int, int]:
        if not isinstance(key, str):
            raise UserError(f"the protocol 'tones' wants prompts, got {key!r}; use the protocol 'plain'")
        return self._tones.parse(key)

    def group(self, key: Key) -> str:
        """ "seen" or "unseen": whether the timbre is one that D may have sounds of."""
        return "unseen" if self._tones.is_unseen(self._parsed(key)[0]) else "seen"

    def look(self, images: np.ndarray) -> Seen:
        """What the sounds are."""
        judged = self._judge(images)
        return Seen(judged.timbre, judged.pitch, judged.features)


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
