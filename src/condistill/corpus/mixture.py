"""A mixture of corpora: the source by weight, then a row uniformly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from condistill.corpus.base import Corpus, Rows
from condistill.errors import UserError
from condistill.maths.randomise import Key


class Mixture(Rows):
    """Several corpora as one; rows are numbered through.

    Args:
        sources: the corpora.
        weights: chance of each source; in proportion to their sizes where None, which makes rows equally likely.
    """

    def __init__(self, sources: Sequence[Corpus], weights: Sequence[float | None] | None = None):
        if not sources:
            raise UserError("a mixture needs at least one source")
        sizes = np.array([len(source) for source in sources], dtype=np.float64)
        given = list(weights) if weights is not None else [None] * len(sources)
        if any(w is None for w in given) and any(w is not None for w in given):
            raise UserError("a mixture has a weight for every source or for none; some are missing")
        if any(isinstance(w, bool) or not isinstance(w, int | float | None) for w in given):
            raise UserError(f"weights of a mixture must be numbers, got {given}")
        chosen = sizes if given[0] is None else np.array(given, dtype=np.float64)
        if not (np.isfinite(chosen).all() and (chosen >= 0).all() and chosen.sum() > 0):
            raise UserError(f"weights of a mixture must be finite, not negative and not all zero, got {given}")
        self.sources, self.weights = tuple(sources), chosen / chosen.sum()
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._edges = np.concatenate([[0.0], np.cumsum(self.weights)])
        self._edges[-1] = 1.0

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Key:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.sources[which][index - int(self._starts[which])]

    def draw(self, uniforms: Float[np.ndarray, " b"]) -> list[Key]:
        """One key per uniform draw: its place on the line of weights names the source and, within it, the row."""
        drawn: list[Key] = []
        for u in np.asarray(uniforms, dtype=np.float64):
            which = min(int(np.searchsorted(self._edges, u, side="right")) - 1, len(self.sources) - 1)
            while self.weights[which] == 0:
                which -= 1
            inside = (u - self._edges[which]) / self.weights[which]
            drawn += self.sources[which].draw(np.array([min(max(inside, 0.0), np.nextafter(1.0, 0.0))]))
        return drawn

    def describe(self) -> dict[str, Any]:
        """The sources' descriptions with their weights."""
        rows = [{**s.describe(), "weight": float(w)} for s, w in zip(self.sources, self.weights, strict=True)]
        return {"source": "mixture", "of": rows, "n": len(self)}
