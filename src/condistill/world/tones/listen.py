"""The judge of the tones world: which timbre and which pitch a sound has, and features for distances.

Nothing is trained. A sound's spectrogram, cut so that every harmonic of every pitch falls into a bin of its own, is
compared with those of true renders: the nearest by cosine names timbre and pitch, and a sound near none is none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int

from condistill.errors import UserError
from condistill.maths import draws
from condistill.world.tones.render import FRAME, LENGTH, NUM_FRAMES, all_sounds, render

NOTHING = -1  # the timbre of a sound that has none of them
NUM_TAKES = 8  # true renders of each sound, averaged to what it is compared with
NUM_FEATURES = 48
NEAR = 0.90  # the least cosine at which a sound counts; docs/log.md says what true renders and others have
SQUEEZE = 4.0  # docs/log.md
SEED = 71  # of the judge's own takes


@dataclass(frozen=True)
class Judgement:
    """What n sounds are.

    timbre and pitch are (n,) indices, timbre NOTHING where no true sound is near; nearness (n,) is the cosine to the
    nearest; features are (n, d).
    """

    timbre: Int[np.ndarray, " n"]
    pitch: Int[np.ndarray, " n"]
    nearness: Float[np.ndarray, " n"]
    features: Float[np.ndarray, "n d"]


def spectrogram(sounds: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "n d"]:
    """The magnitudes of each frame's harmonics of 62.5 Hz, flat, of unit length; 0 for silence.

    They are a share of the sound's greatest one and compressed by log(1 + SQUEEZE m): what is faint counts for more
    than its energy, and noise that is hardly heard for little.
    """
    found = np.abs(np.fft.rfft(sounds.reshape(len(sounds), NUM_FRAMES, FRAME), axis=2)[:, :, 1:])
    rows = found.reshape(len(sounds), -1)
    rows = np.log1p(SQUEEZE * rows / np.maximum(rows.max(axis=1, keepdims=True, initial=0.0), 1e-6))
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


class Judge:
    """Callable on sounds; `hash` says which judge it is."""

    def __init__(self) -> None:
        self.sounds = all_sounds()
        takes = np.repeat(self.sounds, NUM_TAKES, axis=0)
        true = spectrogram(render(takes, seed=SEED, samples=draws.numbers(0, len(takes))))
        means = true.reshape(len(self.sounds), NUM_TAKES, -1).mean(axis=1)
        self.centres = means / np.linalg.norm(means, axis=1, keepdims=True)
        _, _, vectors = np.linalg.svd(self.centres - self.centres.mean(axis=0), full_matrices=False)
        self.axes = vectors[:NUM_FEATURES].T  # (d, NUM_FEATURES)
        self.hash = hashlib.sha256(np.round(self.centres, 3).astype("<f4").tobytes()).hexdigest()

    def __call__(self, sounds: Float[np.ndarray, "..."]) -> Judgement:
        """What the sounds are.

        Args:
            sounds: (n, t) or (n, 1, t), as long as the world's.

        Raises:
            UserError: of another shape.
        """
        if sounds.ndim == 3 and sounds.shape[1] == 1:
            sounds = sounds[:, 0]
        if sounds.ndim != 2 or sounds.shape[1] != LENGTH:
            raise UserError(f"the judge wants sounds of {LENGTH} samples, (n, {LENGTH}), got {sounds.shape}")
        found = spectrogram(sounds)
        cosines = found @ self.centres.T  # (n, sounds)
        best = cosines.argmax(axis=1)
        nearness = cosines[np.arange(len(best)), best]
        timbre = np.where(nearness < NEAR, NOTHING, self.sounds[best, 0])
        return Judgement(timbre, self.sounds[best, 1], nearness, found @ self.axes)


@cache
def shared() -> Judge:
    """The judge, made once a process."""
    return Judge()
