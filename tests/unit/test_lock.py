"""Locks: one owner at a time, and none that outlives its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from condistill import lock
from condistill.lock import Lock, alone, held


def test_only_one_has_it_until_it_is_released(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "a.lock"), Lock(tmp_path / "a.lock")
    assert first.take() and not second.take()
    first.release()
    assert second.take() and not first.take()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    code = f"from condistill.lock import Lock; import os; assert Lock({str(path)!r}).take(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.exists()
    one = Lock(path)
    assert one.take()
    assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_process_number_used_again_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert Lock(path).take()
    owner = json.loads(path.read_text())
    path.write_text(json.dumps({**owner, "started": "1"}))
    assert Lock(path).take()


def test_another_machine_is_believed_until_it_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text(json.dumps({"pid": 1, "started": "1", "host": "elsewhere", "token": "t"}))
    assert not Lock(path).take()
    long_ago = time.time() - lock.SILENT_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    assert Lock(path).take()


@pytest.mark.parametrize("busy", [lock.refused, lock.waited_for, None])
def test_who_is_waited_for_on_another_machine_and_how_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, busy: lock.Busy | None
) -> None:
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.05)
    path = tmp_path / lock.NAME
    path.write_text(json.dumps({"pid": 17, "started": "1", "host": "elsewhere pid:[1]", "token": "t"}))
    a_while_ago = time.time() - lock.QUIET_SECONDS - 10
    os.utime(path, (a_while_ago, a_while_ago))
    threading.Timer(0.2, path.unlink).start()  # as it advises
    with held(path) if busy is None else alone(tmp_path, busy):
        said = capsys.readouterr().err
    assert said.startswith(f"waiting for process 17 on elsewhere, which is at work in {tmp_path}: last sign of life 7")
    assert said.endswith(f"gone after 300 s; where it is known to have ended, remove {path} and this goes on at once\n")
    assert said.count("\n") == 1


def test_a_lock_that_is_being_written_is_held(tmp_path: Path) -> None:
    (tmp_path / "a.lock").touch()
    assert not Lock(tmp_path / "a.lock").take()


def test_breaking_a_stale_lock_leaves_a_new_one_alone(tmp_path: Path) -> None:
    path, new = tmp_path / "a.lock", Lock(tmp_path / "a.lock")
    assert new.take()
    text = path.read_text()
    Lock(path)._break({"pid": 1, "token": "an owner that is no more"})
    assert path.read_text() == text and [file.name for file in tmp_path.iterdir()] == ["a.lock"]


def test_an_owner_that_lost_its_lock_does_not_release_the_new_ones(tmp_path: Path) -> None:
    path, old = tmp_path / "a.lock", Lock(tmp_path / "a.lock")
    assert old.take()
    path.unlink()
    new = Lock(path)
    assert new.take()
    old.release()
    assert path.exists()


def test_held_waits_and_says_so_once(tmp_path: Path) -> None:
    first, said = Lock(tmp_path / "a.lock"), []
    assert first.take()
    threading.Timer(0.2, first.release).start()
    with held(tmp_path / "a.lock", lambda: said.append("waiting")):
        assert said == ["waiting"] and (tmp_path / "a.lock").exists()
    assert not (tmp_path / "a.lock").exists()


def test_of_many_at_once_one_wins(tmp_path: Path) -> None:
    won, ready = [], threading.Barrier(8)

    def one() -> None:
        mine = Lock(tmp_path / "a.lock")
        ready.wait()
        won.append(mine.take())

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 1
