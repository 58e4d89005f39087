"""The world's judge, as evaluation needs it: what a prompt asks for, what an image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float, Int

from condistill.errors import UserError
from condistill.maths.randomise import Key

if TYPE_CHECKING:
    from condistill.world.emoji.judge import Judge


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


class EmojiJudging:
    """The judge of the embedded emoji world; the one that ships with the package unless another is given."""

    def __init__(self, judge: Judge | None = None) -> None:
        from condistill.world import emoji

        self._emoji, self._judge = emoji, judge or emoji.judge()
        self.identity = self._judge.hash
        self.default_call: Mapping[str, Any] = emoji.default_call()

    def asked(self, keys: Sequence[Key]) -> tuple[np.ndarray, np.ndarray]:
        """Concept and colour that each key asks for, (n,) each.

        Raises:
            UserError: a key that is no sentence of the world.
        """
        pairs = np.array([self._parsed(key) for key in keys], dtype=np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def _parsed(self, key: Key) -> tuple[int, int]:
        if not isinstance(key, str):
            raise UserError(f"the protocol 'world' wants prompts, got {key!r}; use the protocol 'plain'")
        return self._emoji.parse(key)

    def group(self, key: Key) -> str:
        """ "seen" or "unseen": whether the concept is one that D may have images of."""
        return "unseen" if self._emoji.is_unseen(self._parsed(key)[0]) else "seen"

    def look(self, images: np.ndarray) -> Seen:
        """What the images show."""
        judged = self._judge(images)
        return Seen(np.asarray(judged.concept), np.asarray(judged.colour), np.asarray(judged.features))
