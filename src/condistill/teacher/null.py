"""The null condition: what guidance uses where there is no key, read off a guided call."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import Tensor

from condistill.maths.randomise import Key
from condistill.teacher.calibration import Calibration
from condistill.teacher.leaves import Leaves, Rows
from condistill.teacher.noisy import same
from condistill.teacher.padding import recorded_rows, with_extras

Keys = tuple[Key, Key, Key]


def null_condition(
    found: Calibration, keys: Keys, pair: Leaves, n: int, paths: Mapping[str, Rows]
) -> tuple[Key | None, Leaves]:
    """The null key, and the rows that guidance uses for it."""
    kind = keys[0]
    usual: Key | None = "" if isinstance(kind, str) else None
    rows = _other_block(pair, n, paths) or _other_call(found, keys, n, paths)
    if isinstance(kind, Mapping):
        return ({} if rows else None), rows
    if isinstance(kind, int):
        label = next(iter(rows.values()), None)
        return (int(label) if isinstance(label, Tensor) and label.numel() == 1 else None), {}
    return usual, rows


def _other_block(pair: Leaves, n: int, paths: Mapping[str, Rows]) -> Leaves:
    """The first item's rows of the block that is not conditional."""
    if any(rows.blocks < 2 for rows in paths.values()):
        return {}
    return {path: _kept(rows.item(pair[path], 0, n, (rows.block + 1) % rows.blocks)) for path, rows in paths.items()}


def _other_call(found: Calibration, keys: Keys, n: int, paths: Mapping[str, Rows]) -> Leaves:
    """The first item's rows of the step's other call, if there is one and it does not depend on the key."""
    runner = found.runner
    for skip in (runner.skip + 1, runner.skip - 1):
        if skip < 0:
            continue
        some = list(keys[:1]) if runner.single else list(keys[:2])
        other = list(keys[1:2]) if runner.single else [keys[0], keys[2]]
        a, b = runner.first(some, skip=skip), runner.first(other, skip=skip)
        if len(a.calls) <= skip or len(b.calls) <= skip or a.calls[skip].step:
            continue
        before = with_extras(found, a.leaves(skip, found.lists))
        after = with_extras(found, b.leaves(skip, found.lists))
        same_key = all(path in before and same(before[path], after.get(path)) for path in paths)
        if same_key and all(before[path] is not None for path in paths):
            return {path: _kept(rows.item(before[path], 0, n, 0)) for path, rows in paths.items()}
    return {}


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def with_null_rows(found: Calibration, null_rows: Leaves) -> Calibration:
    """The calibration with the null condition's rows, where encoding the null key would give others.

    Without a null condition where neither guidance has shown one nor the pipeline encodes an empty text.
    """
    key = found.null_key
    if null_rows:
        null_rows = null_rows | {path: found.examples[path] for path, rows in found.key_paths.items() if rows.is_shared}
    if key is None or isinstance(key, int):
        return found
    own: Leaves = {}
    if isinstance(key, str):
        # a pipeline may not be able to encode an empty text; guidance may have shown what it uses
        with suppress(Exception):
            own = recorded_rows(found, [key])[0]
    if set(null_rows) != set(found.key_paths) or not all(_fits(found, *one) for one in null_rows.items()):
        return found if own or not isinstance(key, str) else replace(found, null_key=None)
    if own and all(same(own[path], value) for path, value in null_rows.items()):
        return found
    return replace(found, null_rows=null_rows)


def _fits(found: Calibration, path: str, value: Any) -> bool:
    if path in found.ragged or not isinstance(value, Tensor):
        return True
    return value.shape == found.key_paths[path].item(found.examples[path], 0, 1).shape
