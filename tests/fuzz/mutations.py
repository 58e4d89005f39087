"""Inputs that nobody would write: good ones, broken in one to four places."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

Mutate = Callable[[Random, bytes], bytes]

# what may stand where something else was wanted, as JSON has it
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**30, -(10**30), 2**63, 1.5, float("nan"), float("inf"), 1e308, "", "x", "nan", "-1",
    "../../up", "/etc/passwd", "a\x00b", "\ud800", "\u202e\u0645\u0631", "\U0001f98a", "<script>x</script>", "a" * 5000,
    "=cmd|' /C calc'!A0", [], {}, [None], [[[[]]]], {"": {}}, {"name": None}, {"x": [1, {"y": 2}]}, [1, "x", None],
    {"$picture": "!!"}, {"$tensor": "AAAA"}, {"$array": 3}, {"$record": ["os", "system", {"command": "true"}]},
    {"$record": ["diffusers.utils", "x", {}]}, {"$record": 7},
)  # fmt: skip

TOKENS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3\x28", b"\r\n", b"\n\n", b"\xe2\x80\xa8", b"\"", b"'", b",", b":",
    b"{", b"}", b"[", b"]", b"- ", b"\t", b"#", b"|", b"&a ", b"*a", b"<<: ", b"!!python/object/apply:os.system [true]",
    b"!x ", b"? ", b"NaN", b"1e999", b"-1", b"99999999999999999999999", b"0x7f", b"true", b"null", b"~", b"../..",
    b"\\ud800", b"\\u0000", b"[" * 3000, b"{a: " * 800, b"9" * 5000, b"<script>", b"=1+1", b"%s%n", b"$(true)", b".",
    b"..", b"=",
)  # fmt: skip


def by_bytes(draw: Random, data: bytes) -> bytes:
    """The bytes with one to four places changed, cut, doubled or added to."""
    found = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place, length = draw.randint(0, len(found)), draw.choice((1, 1, 2, 8, 64, 512))
        kind = draw.randrange(7)
        if kind == 0 and found:
            found[min(place, len(found) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del found[place : place + length]
        elif kind == 2:
            del found[place:]
        elif kind == 3:
            found[place:place] = draw.choice(TOKENS)
        elif kind == 4:
            found[place : place + length] = draw.choice(TOKENS)
        elif kind == 5:
            found[place:place] = found[draw.randint(0, len(found)) :][:length]
        else:
            found[place:place] = draw.randbytes(length)
    return bytes(found)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, one in below for place in _places(one, (*path, name)))]


def of_value(draw: Random, value: Any) -> Any:
    """JSON values with one to three of them replaced, dropped, renamed or doubled."""
    for _ in range(draw.randint(1, 3)):
        path = draw.choice(_places(value))
        if not path:
            if draw.random() < 0.1:
                value = copy.deepcopy(draw.choice(STRANGE))
            continue
        holder = value
        for name in path[:-1]:
            holder = holder[name]
        kind = draw.randrange(5)
        if kind == 0:
            del holder[path[-1]]
        elif kind == 1 and isinstance(holder, dict):
            holder[draw.choice(("", "nmae", "__class__", f"{path[-1]}x"))] = holder.pop(path[-1])
        elif kind == 2 and isinstance(holder, list):
            holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
        else:
            holder[path[-1]] = copy.deepcopy(draw.choice(STRANGE))
    return value


def json_text(value: Any) -> bytes:
    """The value as JSON in ASCII, with not-a-number as Python writes it."""
    return json.dumps(value).encode()


def by_json(draw: Random, data: bytes) -> bytes:
    """A JSON document with other values in some places, or other bytes."""
    return by_bytes(draw, data) if draw.random() < 0.3 else json_text(of_value(draw, json.loads(data)))


def by_json_line(draw: Random, data: bytes) -> bytes:
    """Lines of JSON, one or two of them broken as values or as bytes."""
    if draw.random() < 0.3:
        return by_bytes(draw, data)
    lines = data.splitlines()
    for _ in range(draw.randint(1, 2)):
        row = draw.randrange(len(lines))
        lines[row] = json_text(of_value(draw, json.loads(lines[row])))
    return b"".join(line + b"\n" for line in lines)


def by_header(draw: Random, data: bytes) -> bytes:
    """A safetensors file whose header says something else, or whose bytes are others."""
    if draw.random() < 0.4:
        return by_bytes(draw, data)
    (length,) = struct.unpack("<Q", data[:8])
    header = json_text(of_value(draw, json.loads(data[8 : 8 + length])))
    said = draw.choice((len(header), len(header), len(header), 2**63, 0, len(header) + 1))
    return struct.pack("<Q", said) + header + data[8 + length :]
