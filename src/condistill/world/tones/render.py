"""The true sounds of the tones world: harmonics under an envelope, half a second at 8 kHz.

>>> render(all_sounds()[:2], seed=0, samples=draws.numbers(0, 2)).shape
(2, 4096)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from condistill.maths import draws
from condistill.world.tones.concepts import ARTICULATIONS, PITCHES, TIMBRES

RATE = 8000  # samples a second
FRAME = 128  # samples of one frame of the codec: one period of 62.5 Hz
NUM_FRAMES = 32
LENGTH = FRAME * NUM_FRAMES
BASE_HZ = RATE / FRAME
LEAD = FRAME // 2  # silent samples before the note; the codec fades them in
RELEASE = 0.03  # seconds in which a note dies away
LOUDNESS = 0.25  # the root mean square of a held note at full loudness


def all_sounds() -> Int[np.ndarray, "n 3"]:
    """Timbre, pitch and articulation of every sound, in the order of the prompts of the group "all"."""
    sizes = (len(TIMBRES), len(PITCHES), len(ARTICULATIONS))
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


def render(sounds: Int[np.ndarray, "n 3"], *, seed: int, samples: np.ndarray) -> Float[np.ndarray, "n t"]:
    """One take of each sound, float32 in [-1, 1].

    Takes differ in loudness, brightness, speed of decay, phase of the tremolo and, by a few milliseconds, in when the
    note begins.

    Args:
        sounds: timbre, pitch and articulation, as indices.
        seed: of the takes.
        samples: (n,) the number of each take.
    """
    drawn = {what: draws.uniforms(seed, f"tones {what}", samples) for what in ("loud", "bright", "decay", "wave", "on")}
    takes = [{name: float(u[row]) for name, u in drawn.items()} for row in range(len(sounds))]
    made = [_one(int(a), int(b), int(c), take) for (a, b, c), take in zip(sounds, takes, strict=True)]
    return np.stack(made).astype(np.float32) if made else np.zeros((0, LENGTH), np.float32)


def _one(timbre: int, pitch: int, articulation: int, take: dict[str, float]) -> Float[np.ndarray, " t"]:
    what = TIMBRES[timbre]
    t = (np.arange(LENGTH) - LEAD) / RATE
    number = np.arange(1, len(what.harmonics) + 1)
    amplitude = np.array(what.harmonics) * number ** (0.5 * take["bright"] - 0.25)
    amplitude *= LOUDNESS * (0.6 + 0.4 * take["loud"]) / np.sqrt((amplitude**2).sum() / 2)
    hz = BASE_HZ * list(PITCHES.values())[pitch]
    waves = amplitude[:, None] * np.sin(2 * np.pi * hz * number[:, None] * t)  # (harmonics, t)
    name = list(ARTICULATIONS)[articulation]
    envelope = np.zeros_like(waves)
    for start, end in ARTICULATIONS[name]:
        since = t - start - 0.008 * take["on"]
        shape = _smooth(since / what.attack) * (1 - _smooth((t - end) / RELEASE)) * np.ones_like(waves)
        if what.decay:
            speed = (1 + 0.15 * (number - 1))[:, None] / (what.decay * (0.8 + 0.4 * take["decay"]))
            shape = shape * np.exp(-np.clip(since, 0, None) * speed)
        envelope = np.maximum(envelope, shape)
    wave = 2 * np.pi * (what.tremolo_hz * t + take["wave"])
    gain = 1 - what.tremolo * (0.5 - 0.5 * np.cos(wave))
    if name == "swelling":
        gain = gain * np.clip(0.1 + 0.9 * t / ARTICULATIONS[name][0][1], 0, 1)
    return np.clip((waves * envelope).sum(axis=0) * gain, -1, 1)


def _smooth(share: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """From 0 at or before 0 to 1 at or after 1, along a cosine."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0, 1))
