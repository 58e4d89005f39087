"""Class labels 0 ... n - 1."""

from __future__ import annotations

from typing import Any

from condistill.corpus.base import Rows
from condistill.errors import UserError


class Labels(Rows):
    """The integers of range(num_labels), for class-conditional teachers."""

    def __init__(self, num_labels: int):
        if isinstance(num_labels, bool) or not isinstance(num_labels, int) or num_labels < 1:
            raise UserError(f"labels must be a number of classes, at least 1, got {num_labels!r}")
        self._num = num_labels

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self._num:
            raise IndexError(index)
        return index

    def describe(self) -> dict[str, Any]:
        """The number of classes."""
        return {"source": "labels", "n": self._num}
