"""Encoding: keys to rows of the denoiser's arguments, one run of the text encoder for each key not yet remembered."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor

from condistill.cache.values import plain
from condistill.maths.randomise import Key
from condistill.teacher.calibration import Calibration
from condistill.teacher.padding import recorded_rows

REMEMBERED_BYTES = 256 * 1024 * 1024
KEYS_AT_ONCE = 64

Row = dict[str, Tensor]


class Encoder:
    """A pipeline's own text encoders, run through the pipeline and left before its first denoising step.

    The newest encodings are remembered within REMEMBERED_BYTES.
    """

    def __init__(self, calibration: Calibration):
        self._calibration = calibration
        self._remembered: OrderedDict[str, Row] = OrderedDict()
        self._num_bytes = 0

    def rows(self, keys: Sequence[Key]) -> list[Row]:
        """One row per key: path of the denoiser's argument -> (...), without a batch axis."""
        names = [_frozen(key) for key in keys]
        missing = {name: key for name, key in zip(names, keys, strict=True) if name not in self._remembered}
        fresh = dict(zip(missing, self._recorded(list(missing.values())), strict=True))
        rows = [fresh[name] if name in fresh else self._remembered[name] for name in names]
        self._remember(fresh)
        return rows

    def _recorded(self, keys: list[Key]) -> list[Row]:
        found, rows = self._calibration, []
        if found.null_rows and found.null_key in keys:
            others = [key for key in keys if key != found.null_key]
            known = dict(zip(map(_frozen, others), self._recorded(others), strict=True))
            return [known.get(_frozen(key), dict(found.null_rows)) for key in keys]
        for start in range(0, len(keys), KEYS_AT_ONCE):
            rows += recorded_rows(found, keys[start : start + KEYS_AT_ONCE])
        return rows

    def _remember(self, fresh: Mapping[str, Row]) -> None:
        for name, row in fresh.items():
            self._remembered[name] = row
            self._num_bytes += sum(value.nbytes for value in row.values())
        while self._num_bytes > REMEMBERED_BYTES and len(self._remembered) > 1:
            _, row = self._remembered.popitem(last=False)
            self._num_bytes -= sum(value.nbytes for value in row.values())


def _frozen(key: Key) -> str:
    return json.dumps(plain(key), sort_keys=True)
