"""What verbs print: text for people, or one JSON object; all else goes to standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from condistill.processes import is_silent


def emit(result: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Prints `result` as one JSON object, or `lines`; of several processes the first one does."""
    if is_silent():
        return
    # ASCII: it is valid JSON in every locale, also with half a surrogate pair in a prompt
    print(json.dumps(_plain(result), allow_nan=False) if as_json else "\n".join(lines))


def note(text: str) -> None:
    """Prints a remark on standard error; of several processes the first one does."""
    if not is_silent():
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def nothing_printed() -> Iterator[None]:
    """A block in which whatever libraries print goes to standard error, so that standard output is ours alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def table(rows: Sequence[Sequence[str]], *, right: bool = True) -> list[str]:
    """Lines of a table whose first row is its header; all columns but the first are right-aligned on demand.

    >>> table([["name", "n"], ["a", "10"]])
    ['name   n', 'a     10']
    """
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(w) if right else cell.ljust(w) for cell, w in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below) for below in value]
    return str(value) if isinstance(value, Path) else value
