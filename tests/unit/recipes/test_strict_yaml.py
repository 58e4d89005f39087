"""YAML: the surprises that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from condistill.errors import UserError
from condistill.recipes import strict_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("true", True), ("5e-5", 5e-5), ("1.5E3", 1500.0), ("010", 10),
        ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ("0x10", "0x10"), ("1_000", "1_000"), ("~", None), ("", None),
        ("'5'", "5"), ("v1.4", "v1.4"), ("-.5", -0.5), ("[1, a]", [1, "a"]),
    ],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    found = strict_yaml.parse(text, name="x")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "x:3:1: key 'a' is given twice"),
        ("a: {b: 1, b: 2}\n", "x:1:11: key 'b' is given twice"),
        (
            "a: !!python/object/apply:os.system ['true']\n",
            "x:1:4: the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: &x 1\nb: *x\n", "x:1:4: anchors and aliases"),
        ("a: [1, 2\n", "x:2:1: "),
        ("a: 1\n  b: 2\n", "x:2:4: mapping values are not allowed here"),
        ("? [1, 2]\n: 3\n", "x:1:3: a key must be a word"),
        ("\x00", "x: "),
        ("[" * 5000, "x: nested too deeply"),
        ("9" * 5000, "x: "),
        ("--- 1\n--- 2\n", "x:2:1: "),
    ],
)
def test_what_is_refused_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        strict_yaml.parse(text, name="x")
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["no", "5e-5", "1:30", "2026-01-01", "0x10", "~", "", "true", "1_000", "=", "<<"])
def test_words_are_words_for_other_readers_too(word: str) -> None:
    assert yaml.safe_load(strict_yaml.write({"a": word})) == strict_yaml.parse(strict_yaml.write({"a": word}), name="x")


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nname: café\n".encode("latin-1"))
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (strict_yaml.MAX_BYTES + 1))
    for path, message in (
        (latin, rf"{latin}:2: not UTF-8 \(byte 0xe9 at offset 14\)"),
        (large, "larger than"),
        (tmp_path, "is a folder"),
        (tmp_path / "none.yaml", "no such recipe file"),
    ):
        with pytest.raises(UserError, match=message):
            strict_yaml.read(path)


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert strict_yaml.read(file) == {"a": 1}
