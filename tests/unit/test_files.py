"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from condistill import UserError
from condistill.files import (
    atomic,
    load_tensors,
    read_json,
    require_free,
    save_tensors,
    sha256,
    write_atomic,
    write_json,
)


def test_an_error_inside_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "a" / "f.txt", "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(path.parent) == ["f.txt"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, code: int) -> None:
    with pytest.raises(UserError, match="no space left on the disk while writing"), atomic(tmp_path / "f"):
        raise OSError(code, "full")
    with pytest.raises(PermissionError), atomic(tmp_path / "f"):
        raise PermissionError


def test_tensors_and_json_are_read_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}
    found, facts = load_tensors(save_tensors(tmp_path / "t.safetensors", tensors, {"k": "v"}))
    assert facts == {"k": "v"} and all(torch.equal(found[name], value) for name, value in tensors.items())
    assert read_json(write_json(tmp_path / "j.json", {"x": "\u00e9"})) == {"x": "\u00e9"}
    assert len(sha256(tmp_path / "j.json")) == 64


@pytest.mark.skipif(os.name != "posix", reason="rights of files as POSIX has them")
def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    for path in (write_json(tmp_path / "a.json", 1), save_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(1)})):
        assert path.stat().st_mode & 0o777 == 0o644


def test_numbers_that_are_none_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "j.json", {"x": float("nan")})
    assert not (tmp_path / "j.json").exists()


@pytest.mark.parametrize("data", [b"", b"x" * 7, (2**60).to_bytes(8, "little") + b"{}", b"\x02" + b"\0" * 7 + b"{}x"])
def test_lying_headers_are_user_errors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.safetensors").write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        load_tensors(tmp_path / "t.safetensors")


def test_room_is_asked_for_before_it_is_needed(tmp_path: Path) -> None:
    require_free(tmp_path / "not" / "yet", 1, "D")
    with pytest.raises(UserError, match=r"D needs about \d+ MiB but \d+ MiB are free"):
        require_free(tmp_path, 2**60, "D")
