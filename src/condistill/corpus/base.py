"""What a corpus C is, and the two that need no file: a list of keys and a selection from another corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from condistill.errors import UserError
from condistill.maths.randomise import Key


@runtime_checkable
class Corpus(Protocol):
    """Conditions without images. Reading and drawing take memory for the rows read, not for the whole."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Key: ...
    def draw(self, uniforms: Float[np.ndarray, " b"]) -> list[Key]: ...
    def describe(self) -> dict[str, Any]: ...


class Rows:
    """What corpora of numbered rows share: iteration, and drawing uniformly with replacement."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Key:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Key]:
        return (self[k] for k in range(len(self)))

    def draw(self, uniforms: Float[np.ndarray, " b"]) -> list[Key]:
        """One key per uniform draw in [0, 1): the row at floor(u n)."""
        rows = np.minimum((np.asarray(uniforms) * len(self)).astype(np.int64), len(self) - 1)
        return [self[int(row)] for row in rows]


class Listed(Rows):
    """The keys of a list."""

    def __init__(self, keys: Sequence[Key], *, name: str = "list"):
        self._keys, self._name = tuple(int(key) if isinstance(key, np.integer) else key for key in keys), name
        for key in self._keys:
            if isinstance(key, bool) or not isinstance(key, str | int | Mapping):
                raise UserError(f"a key must be a string, an integer or a mapping, got {key!r:.80} in {name}")
        if not self._keys:
            raise UserError(f"the corpus {name} is empty; give it at least one key")

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Key:
        return self._keys[index]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def describe(self) -> dict[str, Any]:
        """Its size and a hash of its keys."""
        text = json.dumps(self._keys, default=repr, ensure_ascii=False)
        return {
            "source": self._name,
            "n": len(self),
            "sha256": hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16],
        }


class Selected(Rows):
    """Some rows of another corpus, by number."""

    def __init__(self, source: Corpus, rows: Int[np.ndarray, " n"], *, how: dict[str, Any]):
        self.source, self._rows, self._how = source, rows, how
        if not len(rows):
            raise UserError(f"nothing is left of the corpus after {json.dumps(how, default=str)}")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Key:
        return self.source[int(self._rows[index])]

    def describe(self) -> dict[str, Any]:
        """The source's description and how its rows were selected."""
        return {"of": self.source.describe(), **self._how, "n": len(self)}
