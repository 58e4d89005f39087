"""The judge of an embedded world, as evaluation needs it: what a prompt asks for, what a picture or a sound shows.

>>> protocol_of(["a panda on a green background"]), protocol_of(["a panda"])
('world', 'plain')
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int

from condistill.errors import UserError
from condistill.maths.randomise import Key

# protocol -> the world's module, and what its judge calls the concept and the colour
WORLDS = {
    "world": ("condistill.world.emoji", "concept", "colour"),
    "tones": ("condistill.world.tones", "timbre", "pitch"),
}


def protocol_of(keys: Iterable[Key]) -> str:
    """The protocol of the embedded world whose sentences all `keys` are, or "plain" where they are of none."""
    keys = list(keys)
    return next((name for name, (module, *_) in WORLDS.items() if _reads(import_module(module), keys)), "plain")


def _reads(world: Any, keys: Iterable[Key]) -> bool:
    try:
        return all(isinstance(key, str) and world.parse(key) for key in keys)
    except UserError:
        return False


@dataclass(frozen=True)
class Seen:
    """What the judge saw in n images, and its features."""

    concept: Int[np.ndarray, " n"]
    colour: Int[np.ndarray, " n"]
    features: Float[np.ndarray, "n d"]


class Judging(Protocol):
    """A judge with the language of its world.

    `identity` is a hash of the judge, for the protocol; `default_call` holds the arguments with which its teacher
    samples best.
    """

    identity: str
    default_call: Mapping[str, Any]

    def asked(self, keys: Sequence[Key]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Concept and colour that each key asks for, (n,) each."""
        ...

    def group(self, key: Key) -> str:
        """ "seen" or "unseen"."""
        ...

    def look(self, images: Float[np.ndarray, "n h w 3"]) -> Seen:
        """What the images show."""
        ...


class WorldJudging:
    """The judge of an embedded world, where a timbre is a sound's concept and a pitch its colour.

    Args:
        protocol: "world" (emoji) or "tones".
        judge: in place of the one that ships with the package.
    """

    def __init__(self, protocol: str, judge: Any = None) -> None:
        module, *self._names = WORLDS[protocol]
        self._protocol, self._world = protocol, import_module(module)
        self._judge = judge or self._world.judge()
        self.identity: str = self._judge.hash
        self.default_call: Mapping[str, Any] = self._world.default_call()

    def asked(self, keys: Sequence[Key]) -> tuple[np.ndarray, np.ndarray]:
        """Concept and colour that each key asks for, (n,) each.

        Raises:
            UserError: a key that is no sentence of the world.
        """
        pairs = np.array([self._parsed(key) for key in keys], dtype=np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def _parsed(self, key: Key) -> tuple[int, int]:
        if not isinstance(key, str):
            raise UserError(f"the protocol {self._protocol!r} wants prompts, got {key!r}; use the protocol 'plain'")
        return self._world.parse(key)

    def group(self, key: Key) -> str:
        """ "seen" or "unseen": whether the concept is one that D may have images of."""
        return "unseen" if self._world.is_unseen(self._parsed(key)[0]) else "seen"

    def look(self, images: np.ndarray) -> Seen:
        """What the pictures show, or the sounds are."""
        judged = self._judge(images)
        concept, colour = (np.asarray(getattr(judged, name)) for name in self._names)
        return Seen(concept, colour, np.asarray(judged.features))
