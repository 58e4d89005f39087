"""Values that somebody else may have written: each is what it should be, or one line says where it is not.

>>> number({"value": 0.5}["value"], "results.json: value")
0.5
>>> number("half", "results.json: value")
Traceback (most recent call last):
condistill.errors.UserError: results.json: value must be a number, got 'half'; restore the file from a copy
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from condistill.errors import UserError

T = TypeVar("T")
LARGEST = 1e100  # nothing that is measured is larger, and beyond it the arithmetic of charts overflows


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """The value, a mapping of names."""
    if not isinstance(value, Mapping):
        raise _other("a mapping", value, where)
    return value


def listed(value: Any, where: str) -> Sequence[Any]:
    """The value, a list."""
    if not isinstance(value, list | tuple):
        raise _other("a list", value, where)
    return value


def text(value: Any, where: str) -> str:
    """The value, a text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise _other("text", value, where)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _other("text without half a surrogate pair", value, where) from None
    return value


def number(value: Any, where: str, *, finite: bool = True) -> float:
    """The value, a number; `finite` refuses not-a-number and infinity as well."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _other("a number", value, where)
    if not abs(value) <= LARGEST and (finite or math.isfinite(value)):
        raise _other(f"a number of at most {LARGEST:g}", value, where)
    return value


def whole(value: Any, where: str) -> int:
    """The value, a whole number of at most 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise _other("a whole number", value, where)
    return value


def optional(read: Callable[[Any, str], T], value: Any, where: str) -> T | None:
    """What `read` gives; None where the value is null."""
    return None if value is None else read(value, where)


def _other(wanted: str, value: Any, where: str) -> UserError:
    return UserError(f"{where} must be {wanted}, got {value!r:.80}; restore the file from a copy")


def parsed(line: str | bytes, where: str) -> Any:
    """The JSON value in a text.

    Raises:
        UserError: not UTF-8, not JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not readable as JSON ({error}); restore it from a copy, or remove it") from None


def json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a file with one a line; nothing where there is no file. A last line that a kill left half is not
    one of them.

    Raises:
        UserError: another line is no JSON object.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    last = max((k for k, line in enumerate(lines) if line.strip(b" \r\0")), default=-1)
    for k, line in enumerate(lines[: last + 1]):
        if not line.strip():
            continue
        where = f"{path}, line {k + 1}"
        try:
            found.append(dict(mapping(parsed(line, where), where)))
        except UserError:
            if k < last:
                raise
    return found
