"""Text files (txt, csv, tsv, jsonl, parquet) as a memory-mapped column.

A file is converted once to an Arrow file in the cache folder and mapped from there, so a corpus of 1e8 rows takes no
memory and opens at once. The conversion reads row by row.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from condistill.corpus.base import Rows
from condistill.corpus.blanks import BATCH_ROWS, filled, not_blank, num_blank, parts
from condistill.errors import UserError, nearest
from condistill.files import atomic, sha256
from condistill.maths.randomise import Key
from condistill.remote import cache_folder

COLUMNS = ("prompt", "caption", "text")  # looked for in this order where no column is named
KINDS = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
VERSION = 2  # of the converted files
FIELD_CHARACTERS = 16 * 1024 * 1024


class TextCorpus(Rows):
    """The keys of one column of a file.

    Attributes:
        path: the file.
        column: the column read ("" for txt).
        num_blank: rows that were skipped because they were empty.
    """

    def __init__(self, path: Path, *, column: str | None = None, cache_dir: Path | None = None):
        self.path = path
        if path.suffix.lower() not in KINDS:
            raise UserError(
                f"{str(path)!r:.200} is of no kind that is read; known: {', '.join(KINDS)}; prompts themselves are "
                "given as a list"
            )
        if path.is_dir():
            raise UserError(f"{path} is a folder; a file of prompts is wanted")
        if not path.is_file():
            raise UserError(f"no such file: {path}")
        stat = path.stat()
        name = f"{path.resolve()}/{stat.st_size}/{stat.st_mtime_ns}/{column}/{VERSION}"
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:24]
        table = _mapped(path, column, cache_folder(cache_dir) / "corpus" / f"{digest}.arrow")
        facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        self.column, self.num_blank, self._sha256 = facts["column"], int(facts["num_blank"]), facts["sha256"]
        self._keys = table.column(0)
        if not len(self._keys):
            raise UserError(f"{path} holds no key: {self.num_blank} blank rows and nothing else")

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Key:
        return self._keys[index].as_py()

    def __iter__(self) -> Iterator[Key]:
        for chunk in self._keys.iterchunks():
            for start in range(0, len(chunk), 1024):
                yield from chunk.slice(start, 1024).to_pylist()

    def describe(self) -> dict[str, Any]:
        """Its file's name and hash, its column and number of rows."""
        about = {"source": self.path.name, "sha256": self._sha256, "column": self.column}
        return {**about, "n": len(self), "blank": self.num_blank}


def _mapped(path: Path, column: str | None, converted: Path) -> Any:
    """The converted file as a memory-mapped table; it is made (again) if it is not there or not whole."""
    import pyarrow as pa

    for attempt in range(2):
        if attempt or not converted.is_file():
            try:
                _convert(path, column, converted)
            except OSError as error:
                raise UserError(
                    f"cannot write {converted.parent} or read {path} ({error.strerror or error}); "
                    "set CONDISTILL_CACHE to a folder that can be written"
                ) from None
        try:
            table = pa.ipc.open_file(pa.memory_map(str(converted))).read_all()
        except (pa.ArrowException, OSError):
            continue
        if {b"column", b"num_blank", b"sha256"} <= set(table.schema.metadata or {}) and table.num_columns == 1:
            return table
    raise UserError(f"{converted} is damaged, and was so again after it was written anew; check the disk")


def _convert(path: Path, column: str | None, target: Path) -> None:
    import pyarrow as pa

    found, is_text, rows = _rows(path, column)
    kind = pa.string() if is_text else pa.int64()
    # twice over the file, because the schema with its counts stands first
    blank = sum(num_blank(part) for part in parts(rows()))
    facts = {"column": found.encode(errors="replace"), "num_blank": str(blank), "sha256": sha256(path)}
    schema = pa.schema([("key", kind)], metadata=facts)
    with atomic(target) as temporary, pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for part in parts(rows()):
            try:
                for kept in not_blank(part, kind):
                    writer.write_batch(pa.record_batch([kept], schema=schema))
            except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError) as error:
                raise UserError(
                    f"{path}: its keys must be all text or all integers below 2**63 ({' '.join(str(error).split())})"
                ) from None


def _rows(path: Path, column: str | None) -> tuple[str, bool, Any]:
    """The column's name, whether it is text, and a function that gives its rows anew each time."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path, column)
    if suffix == ".txt":
        if column:
            raise UserError(f"{path} is a text file with one prompt a line; it has no column {column!r}")
        return "", True, lambda: _lines(path)
    if suffix == ".jsonl":
        first = next(_objects(path), None)
        name = _chosen(path, column, list(first) if isinstance(first, dict) else [])
        return name, not isinstance((first or {}).get(name), int), lambda: _fields(path, name)
    separator = "\t" if suffix == ".tsv" else ","
    header = next(_records(path, separator), [])
    name = _chosen(path, column, header)
    return name, True, lambda: _cells(path, separator, header.index(name))


def _chosen(path: Path, column: str | None, known: list[str]) -> str:
    if column is None:
        column = next((name for name in COLUMNS if name in known), None)
        if column is None and len(known) == 1:
            column = known[0]
        if column is None:
            raise UserError(f"{path} has no column {' or '.join(COLUMNS)}; name one of: {', '.join(known) or 'none'}")
    if known.count(column) > 1:
        raise UserError(f"{path} has {known.count(column)} columns {column!r}; rename all but one")
    if column not in known:
        guess = nearest(column, known)
        hint = f"did you mean {guess!r}? " if guess else ""
        raise UserError(f"{path} has no column {column!r}; {hint}columns: {', '.join(known) or 'none'}")
    return column


def _lines(path: Path) -> Iterator[str]:
    """Lines without their ends and without a byte order mark.

    Raises:
        UserError: bytes that are not UTF-8, with file and line.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and (kind := _other_kind(line)):
                raise UserError(f"{path} is not UTF-8: it is {kind}; unpack or convert the file first")
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not UTF-8: line {number}, byte {error.start + 1} is {line[error.start]:#04x}; "
                    "convert the file, for example with iconv"
                ) from None
            yield text.removeprefix("\ufeff" if number == 1 else "").rstrip("\r\n")


def _other_kind(line: bytes) -> str:
    """What a file is by its first line, where that is no text in UTF-8; "" where it may be."""
    for start, kind in (
        (b"\x1f\x8b", "compressed (gzip)"),
        (b"PK\3\4", "an archive (zip)"),
        (b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
    ):
        if line.startswith(start):
            return kind
    is_sixteen = line.startswith((b"\xff\xfe", b"\xfe\xff")) or 4 * line.count(b"\0") > len(line)
    return "UTF-16 or binary" if is_sixteen else ""


def _objects(path: Path) -> Iterator[Any]:
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is no JSON object ({error})") from None


def _fields(path: Path, name: str) -> Iterator[Any]:
    for number, row in enumerate(_objects(path), start=1):
        if not isinstance(row, dict) or name not in row:
            raise UserError(f"{path}, object {number} has no field {name!r}")
        value = row[name]
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise UserError(f"{path}, object {number}: field {name!r} must be text or an integer, got {value!r:.60}")
        yield value


def _records(path: Path, separator: str) -> Iterator[list[str]]:
    csv.field_size_limit(FIELD_CHARACTERS)
    # line ends go back on, because a quoted field may hold them
    reader = csv.reader((line + "\n" for line in _lines(path)), delimiter=separator, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise UserError(
            f"{path} is no readable table (line {reader.line_num}: {error}); quote fields that hold quotes or line ends"
        ) from None


def _cells(path: Path, separator: str, place: int) -> Iterator[str | None]:
    for number, row in enumerate(_records(path, separator)):
        if number and row:
            yield row[place] if place < len(row) else None


def _parquet(path: Path, column: str | None) -> tuple[str, bool, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        name = _chosen(path, column, schema.names)
        kind = schema.field(name).type
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is no readable parquet file ({' '.join(str(error).split())})") from None
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind  # pandas' categories
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not is_text and not pa.types.is_integer(kind):
        raise UserError(f"{path}: column {name!r} is {kind}; text or integers are wanted")

    def rows() -> Iterator[Any]:
        try:
            for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=[name]):
                column = batch.column(0)
                filled(column)  # what cannot be read is found here
                yield column
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is damaged ({' '.join(str(error).split())})") from None

    return name, is_text, rows
