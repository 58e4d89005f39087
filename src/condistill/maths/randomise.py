"""Random conditioning, the idea of the paper, on keys: first swap, then drop.

>>> randomise(["a", "b"], swap=[True, False], others=["x", "y"], drop=[False, True], null="").keys
('x', '')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Key = str | int | Mapping


@dataclass(frozen=True)
class Randomised:
    """Keys after random conditioning.

    Attributes:
        keys: the b keys to condition on.
        swapped: (b,) bool; the key was exchanged for one of C. Such a sample has no true x0 for its condition.
        dropped: (b,) bool; the key is the null condition.
    """

    keys: tuple[Key, ...]
    swapped: np.ndarray
    dropped: np.ndarray


def randomise(
    keys: Sequence[Key],
    *,
    swap: Sequence[bool] | np.ndarray,
    others: Sequence[Key],
    drop: Sequence[bool] | np.ndarray,
    null: Key | None,
) -> Randomised:
    """The keys with those marked `swap` replaced by `others`, then those marked `drop` by the null condition.

    The order matters: null conditions stay as frequent as asked for, whatever p(u) is.

    Args:
        keys: b conditions, each belonging to its x0.
        swap: (b,) bool, drawn with probability p(u).
        others: b keys drawn uniformly, with replacement, from the corpus C.
        drop: (b,) bool, drawn independently with the null probability.
        null: the key of the null condition; None where there is none, and then nothing may be dropped.

    Raises:
        ValueError: a key is dropped and there is no null condition.

    Source: arXiv 2504.02011, algorithm 1; the null probability of 0.1 from its training recipe.
    """
    swapped, dropped = np.asarray(swap, dtype=bool), np.asarray(drop, dtype=bool)
    chosen = [other if s else key for key, other, s in zip(keys, others, swapped, strict=True)]
    if null is None and dropped.any():
        raise ValueError("keys are to be dropped, but there is no null condition")
    chosen = [null if d and null is not None else key for key, d in zip(chosen, dropped, strict=True)]
    return Randomised(keys=tuple(chosen), swapped=swapped, dropped=dropped)
