"""The language of the tones world: twelve timbres, six pitches, four ways of playing, and the captions made of them.

Four of the timbres are the unseen group: D may hold no sound of them.

>>> prompts("unseen")[0]
'a deep trumpet playing a long note'
>>> parse("a shrill bell playing a short note") == (TIMBRE_INDEX["bell"], PITCH_INDEX["shrill"])
True
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from condistill.errors import UserError, unknown_name

GROUPS = ("seen", "unseen", "all")


@dataclass(frozen=True)
class Timbre:
    """How an instrument sounds.

    Attributes:
        name: the word for it.
        seen: whether D may hold sounds of it.
        harmonics: the amplitudes of the fundamental and the harmonics above it.
        attack: seconds until it is at its loudest.
        decay: seconds in which its fundamental falls to 1 / e, its harmonics faster; 0 for one that holds its tone.
        tremolo: how deep its loudness wavers, in [0, 1].
        tremolo_hz: how fast.
    """

    name: str
    seen: bool
    harmonics: tuple[float, ...]
    attack: float
    decay: float = 0.0
    tremolo: float = 0.0
    tremolo_hz: float = 0.0


TIMBRES: tuple[Timbre, ...] = (
    Timbre("trumpet", False, (0.5, 0.8, 1.0, 1.0, 0.8, 0.6, 0.4), 0.02),
    Timbre("accordion", False, (1.0, 0.3, 0.7, 0.8, 0.2, 0.7, 0.6), 0.03, tremolo=0.7, tremolo_hz=10.0),
    Timbre("marimba", False, (1.0, 0.04, 0.04, 0.9, 0.02, 0.02, 0.1), 0.005, decay=0.10),
    Timbre("choir", False, (0.3, 1.0, 0.2, 0.1, 0.2, 0.8, 0.3), 0.08),
    Timbre("flute", True, (1.0, 0.25, 0.08, 0.03, 0.0, 0.0, 0.0), 0.06),
    Timbre("clarinet", True, (1.0, 0.05, 0.7, 0.05, 0.5, 0.05, 0.3), 0.03),
    Timbre("oboe", True, (0.3, 0.1, 0.9, 1.0, 0.2, 0.02, 0.02), 0.03),
    Timbre("organ", True, (1.0, 0.9, 0.1, 0.9, 0.05, 0.1, 0.05), 0.01),
    Timbre("horn", True, (1.0, 0.8, 0.5, 0.2, 0.08, 0.03, 0.01), 0.08),
    Timbre("violin", True, (1.0, 0.5, 0.33, 0.25, 0.2, 0.17, 0.14), 0.05, tremolo=0.6, tremolo_hz=6.0),
    Timbre("guitar", True, (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2), 0.005, decay=0.20),
    Timbre("bell", True, (0.4, 0.05, 1.0, 0.1, 0.2, 0.9, 0.1), 0.005, decay=0.35),
)

# name -> the multiple of 62.5 Hz: a period of that frequency is one frame of the codec, so a held note is the same in
# every frame, and a small network learns it quickly
PITCHES: dict[str, int] = {"deep": 4, "low": 5, "middle": 6, "high": 7, "treble": 8, "shrill": 9}

# name -> when its notes begin and end, in seconds
ARTICULATIONS: dict[str, tuple[tuple[float, float], ...]] = {
    "long": ((0.0, 0.44),),
    "short": ((0.0, 0.16),),
    "double": ((0.0, 0.16), (0.23, 0.40)),
    "swelling": ((0.0, 0.44),),
}

TIMBRE_INDEX = {timbre.name: index for index, timbre in enumerate(TIMBRES)}
PITCH_INDEX = {name: index for index, name in enumerate(PITCHES)}


def caption(timbre: int, pitch: int, articulation: int) -> str:
    """The sentence for one sound.

    >>> caption(0, 1, 2)
    'a low trumpet playing a double note'
    """
    return f"a {list(PITCHES)[pitch]} {TIMBRES[timbre].name} playing a {list(ARTICULATIONS)[articulation]} note"


def is_unseen(timbre: int) -> bool:
    """Whether this timbre belongs to the unseen group, of which D holds no sound."""
    return not TIMBRES[timbre].seen


def prompts(group: str = "all") -> list[str]:
    """All captions of a group: timbre by timbre, pitch by pitch, articulation by articulation.

    Raises:
        UserError: a group that is not "seen", "unseen" or "all".
    """
    if group not in GROUPS:
        raise unknown_name("group of the tones world", group, GROUPS)
    return [
        caption(timbre, pitch, articulation)
        for timbre in range(len(TIMBRES))
        if group == "all" or TIMBRES[timbre].seen == (group == "seen")
        for pitch in range(len(PITCHES))
        for articulation in range(len(ARTICULATIONS))
    ]


def parse(prompt: str) -> tuple[int, int]:
    """(timbre index, pitch index) that a prompt asks for; the first of each that it names.

    Raises:
        UserError: no timbre or no pitch of this world in the prompt.
    """
    words = re.findall(r"[a-z]+", prompt.lower())
    timbre = next((TIMBRE_INDEX[word] for word in words if word in TIMBRE_INDEX), None)
    pitch = next((PITCH_INDEX[word] for word in words if word in PITCH_INDEX), None)
    if timbre is None or pitch is None:
        missing = "timbre" if timbre is None else "pitch"
        raise UserError(f"no {missing} of the tones world in {prompt!r}; wanted a sentence like {caption(0, 1, 0)!r}")
    return timbre, pitch


def source(spec: Mapping[str, Any]) -> list[str]:
    """The keys of the corpus spec {"world": "tones", "group": "seen" | "unseen" | "all"}.

    Raises:
        UserError: an unknown group.
    """
    return prompts(str(spec.get("group", "all")))
