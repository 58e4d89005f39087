"""Text files: every kind gives the same keys, and whatever is wrong is said in one line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condistill import UserError, corpus
from condistill.corpus import blanks

ROWS = ["a panda", 'quoted "x", and\ttab', "\u0645\u0631\u062d\u0628\u0627", "\U0001f98a fox", "two\nlines"]


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDISTILL_CACHE", str(tmp_path / "arrow"))


def write(path: Path, rows: list[str]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"id": k, "caption": row}) + "\n" for k, row in enumerate(rows)))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"id": range(len(rows)), "caption": rows}), path)
    elif path.suffix == ".txt":
        path.write_text("\n".join(rows))
    else:
        with open(path, "w", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(
                [["id", "caption"], *[[str(k), row] for k, row in enumerate(rows)]]
            )
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_gives_the_same_keys(tmp_path: Path, kind: str) -> None:
    found = corpus(write(tmp_path / f"c.{kind}", ROWS))
    assert list(found) == ROWS
    assert found.describe()["column"] == "caption"


def test_txt_with_byte_order_mark_crlf_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_bytes("\ufeffa panda\r\n\r\n  \r\nan owl\r\n".encode())
    found = corpus(path)
    assert list(found) == ["a panda", "an owl"] and found.num_blank == 2


def test_integer_columns_are_labels(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [3, 5]}), tmp_path / "c.parquet")
    assert list(corpus(tmp_path / "c.parquet")) == [3, 5]


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("one")
    assert list(corpus(path)) == ["one"]
    path.write_text("one\ntwo")
    assert list(corpus(path)) == ["one", "two"]


def test_rows_are_mapped_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("\n".join(f"prompt number {k}" for k in range(200_000)))
    corpus(path)
    before = pa.total_allocated_bytes()
    found = corpus(path)
    assert found[199_999] == "prompt number 199999" and len(found) == 200_000
    assert pa.total_allocated_bytes() - before < 100_000


@pytest.mark.parametrize(
    ("name", "data", "spec", "words"),
    [
        ("c.txt", b"ok\nbad \xff\n", {}, "not UTF-8: line 2, byte 5 is 0xff"),
        ("c.txt", b"\n  \n", {}, "holds no key: 2 blank rows"),
        ("c.txt", b"", {}, "holds no key"),
        ("c.csv", b"a,b\n1,2\n", {}, "no column prompt or caption or text; name one of: a, b"),
        ("c.csv", b"prompt,b\n1,2\n", {"column": "promt"}, "did you mean 'prompt'"),
        ("c.csv", b'prompt\n"open', {}, "no readable table"),
        ("c.jsonl", b'{"text": "a"}\n{"text": \n', {}, "line 2 is no JSON"),
        ("c.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', {}, "object 2 has no field 'text'"),
        ("c.jsonl", b'{"text": ["a"]}\n', {}, "must be text or an integer"),
        ("c.jsonl", b"[1, 2]\n", {}, "no column"),
        ("c.jsonl", b'{"text": "a"}\n{"text": 3}\n', {}, "all text or all integers"),
        ("c.jsonl", b'{"text": 99999999999999999999}\n', {}, "integers below 2**63"),
        ("c.jsonl", b'{"text": "\\ud800"}\n', {}, "all text"),
        ("c.jsonl", b'{"text": ' + b"9" * 5000 + b"}\n", {}, "line 1 is no JSON"),
        ("c.jsonl", b"[" * 100_000, {}, "line 1 is no JSON"),
        ("c.csv", b"\xff\xfea\x00", {}, "not UTF-8: it is UTF-16"),
        ("c.txt", "a fox\nan owl\n".encode("utf-16-le"), {}, "not UTF-8: it is UTF-16"),
        ("c.jsonl", gzip.compress(b"x", mtime=0), {}, "it is compressed (gzip); unpack"),
        ("c.csv", b"prompt,prompt\na,b\n", {}, "2 columns 'prompt'; rename"),
        ("c.csv", b"", {}, "name one of: none"),
        ("c.csv", b"prompt\na\n", {"column": 3}, "column of a corpus must be text"),
        ("c.parquet", b"not parquet", {}, "no readable parquet"),
        ("c.doc", b"x", {}, "of no kind that is read"),
        ("c.txt", b"x", {"column": "text"}, "has no column"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, name: str, data: bytes, spec: dict, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        corpus({"path": path, **spec})
    assert words in str(error.value) and "\n" not in str(error.value)


def test_odd_lines_are_kept_as_they_are(tmp_path: Path) -> None:
    rows = ["nul \0 inside", "x" * 2**20, "line\u2028separator", "\U0001f468\u200d\U0001f469"]
    for kind in ("txt", "csv", "jsonl"):
        assert list(corpus(write(tmp_path / f"c.{kind}", rows))) == rows


def test_long_rows_go_into_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blanks, "BATCH_CHARACTERS", 10)
    rows = [f"prompt {k}" for k in range(9)]
    pq.write_table(pa.table({"prompt": [None, *rows[:4], " \t", "", *rows[4:]]}), tmp_path / "blank.parquet")
    for file in (write(tmp_path / "c.parquet", rows), tmp_path / "blank.parquet"):
        assert list(corpus(file)) == rows
    assert corpus(tmp_path / "blank.parquet").num_blank == 3  # type: ignore[attr-defined]
    found = corpus(write(tmp_path / "c.txt", rows))
    assert list(found) == rows == [found[k] for k in range(9)]
    assert found.draw(np.array([0.0, 0.5, 1.0 - 2**-53])) == [rows[0], rows[4], rows[8]]


@pytest.mark.parametrize("damage", [b"", b"ARROW1", None])
def test_a_damaged_converted_file_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    path = write(tmp_path / "c.txt", ["a", "b"])
    corpus(path)
    (converted,) = (tmp_path / "arrow" / "corpus").iterdir()
    converted.write_bytes(converted.read_bytes()[:-30] if damage is None else damage)
    assert list(corpus(path)) == ["a", "b"]
    assert [file.name for file in converted.parent.iterdir()] == [converted.name]


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set CONDISTILL_CACHE"):
        corpus(write(tmp_path / "c.txt", ["a"]), cache_dir=tmp_path / "file")


def test_a_description_follows_the_contents(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one, same = write(tmp_path / "c.txt", ["a"]), write(tmp_path / "b" / "c.txt", ["a"])
    assert corpus(one).describe() == corpus(same).describe()
    assert corpus(one).describe() != corpus(write(tmp_path / "b" / "c.txt", ["b"])).describe()


def test_missing_file_and_nested_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        corpus(tmp_path / "none.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        corpus(tmp_path / "folder.txt")
    pq.write_table(pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode()}), tmp_path / "d.parquet")
    assert list(corpus(tmp_path / "d.parquet")) == ["a", "b", "a"]
    pq.write_table(pa.table({"text": [{"a": 1}]}), tmp_path / "n.parquet")
    with pytest.raises(UserError, match="text or integers are wanted"):
        corpus(tmp_path / "n.parquet")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["txt", "csv", "tsv", "jsonl", "parquet"]))
def test_any_bytes_give_keys_or_one_clear_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / f"c.{kind}"
    path.write_bytes(data)
    try:
        found = corpus(path, cache_dir=folder)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len(list(found)) == len(found) > 0
