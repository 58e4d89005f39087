"""Rows of a file in bounded parts, lists or Arrow columns, and which of them are blank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from condistill.maths.randomise import Key

BATCH_ROWS = 65_536
BATCH_CHARACTERS = 64 * 1024 * 1024  # an Arrow column of strings holds at most 2 GiB a batch


def parts(rows: Iterable[Any]) -> Iterator[Any]:
    """Rows in lists of a bounded size; those that come as an Arrow array already stay one."""
    import pyarrow as pa

    batch: list[Key] = []
    characters = 0
    for key in rows:
        if isinstance(key, pa.Array):
            yield key
            continue
        batch.append(key)
        characters += len(key) if isinstance(key, str) else 0
        if len(batch) == BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def num_blank(part: Any) -> int:
    """How many rows of a part are blank."""
    return sum(map(_is_blank, part)) if isinstance(part, list) else len(part) - len(filled(part))


def not_blank(part: Any, kind: Any) -> Iterator[Any]:
    """The rows that are not blank, as Arrow arrays of that kind."""
    import pyarrow as pa

    if isinstance(part, list):
        kept = [key for key in part if not _is_blank(key)]
        if kept:
            yield pa.array(kept, kind)
        return
    found = filled(part)
    rows = max(1, len(found) * BATCH_CHARACTERS // max(found.nbytes, BATCH_CHARACTERS))
    for start in range(0, len(found), rows):
        yield found.slice(start, rows).cast(kind)


def filled(column: Any) -> Any:
    """The values of an Arrow column that are not blank; 1e8 rows take seconds, which they would not one by one."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # its functions are made when it is imported

    values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    found = values.drop_null()
    if pa.types.is_integer(found.type):
        return found
    if pa.types.is_string_view(found.type):
        found = found.cast(pa.large_string())
    found.validate(full=True)  # bytes that are not UTF-8
    return found.filter(pc.not_equal(pc.utf8_trim_whitespace(found), ""))


def _is_blank(key: Any) -> bool:
    return key is None or (isinstance(key, str) and not key.strip())
