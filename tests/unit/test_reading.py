"""Values of strange files: what is wanted comes through as it is, anything else is one line with its place."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condistill import UserError
from condistill.errors import MAX_CHARACTERS
from condistill.files import read_json
from condistill.reading import json_lines, listed, mapping, number, optional, parsed, text, whole

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=5,
)


@given(PLAIN)
def test_a_value_is_given_back_or_refused_with_its_place(value: object) -> None:
    for read in (mapping, listed, text, number, whole):
        try:
            assert read(value, "file: place") is value
        except UserError as error:
            assert str(error).startswith("file: place must be") and str(error).isprintable()


def test_numbers() -> None:
    assert number(3, "x") == 3 and whole(-4, "x") == -4 and optional(number, None, "x") is None
    assert math.isnan(number(math.nan, "x", finite=False)) and number(math.inf, "x", finite=False) == math.inf
    for value in (True, math.nan, math.inf, 1e101, 10**400, "1"):
        with pytest.raises(UserError, match="must be a"):
            number(value, "x")
    for value in (False, 1.0, 2**63):
        with pytest.raises(UserError, match="must be a whole number"):
            whole(value, "x")


@given(st.text(st.characters()))
def test_a_message_is_one_printable_line_of_bounded_length(said: str) -> None:
    message = str(UserError(said * 40))
    assert message.isprintable() and len(message) <= MAX_CHARACTERS


@pytest.mark.parametrize("data", [b"", b"[1", b"\xff", b"9" * 5000, b"[" * 100_000, b"\x00"])
def test_what_is_no_json(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(UserError, match="not readable as JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(UserError, match="not readable as JSON"):
        parsed(data, "x")
    with pytest.raises(UserError, match="is a folder"):
        read_json(tmp_path)


def test_lines_but_the_half_one_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    assert json_lines(file) == []
    row = json.dumps({"a": 1})
    for end in ("", "\n", '\n{"a": ', "\n[]", "\n\0\0\0", "\r\n\n"):
        file.write_text(f"{row}\n{row}{end}")
        assert json_lines(file) == [{"a": 1}] * 2, end
    file.write_text(f"{row}\n[]\n{row}\n")
    with pytest.raises(UserError, match="line 2 must be a mapping"):
        json_lines(file)
