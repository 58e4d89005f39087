"""Lock files that several processes, also on several machines, share the work in a folder by.

A lock is a file that only one process can create. Its owner touches it now and then; a lock is stale, and may be taken
over, when its owner's process is gone, or, where that cannot be looked at (another machine), after a long silence.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BEAT_SECONDS = 20.0
SILENT_SECONDS = 300.0  # fifteen beats: a machine that is only slow does not miss so many
POLL_SECONDS = 1.0


class Lock:
    """A lock file; `take` it, then `release` it.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._token = ""
        self._released = threading.Event()

    def take(self) -> bool:
        """Whether the lock is now ours: it was free, or its owner is gone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        stale = self._stale()
        if stale is not None:
            self._break(stale)
        token, pid = uuid.uuid4().hex, os.getpid()
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        owner = {"pid": pid, "started": _started(pid), "host": _host(), "token": token}
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(owner, file)
        self._token, self._released = token, threading.Event()
        threading.Thread(target=_beat, args=(self.path, self._released), daemon=True).start()
        return True

    def release(self) -> None:
        """Gives the lock back; one that was taken over meanwhile is left to its new owner."""
        self._released.set()
        if _owner(self.path).get("token") == self._token:
            self.path.unlink(missing_ok=True)

    def _stale(self) -> dict[str, Any] | None:
        """The owner that is gone; None where the lock is free or held."""
        try:
            silent = time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return None
        owner = _owner(self.path)
        if owner.get("host") == _host():
            return owner if _started(owner["pid"]) != owner["started"] else None
        return owner if silent > SILENT_SECONDS else None

    def _break(self, stale: dict[str, Any]) -> None:
        """Removes the lock of `stale`; of two that try, one does, and neither removes the other's new lock."""
        aside = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if _owner(aside) != stale:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self.path)
        aside.unlink()


@contextlib.contextmanager
def held(path: str | Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A block during which the lock is ours; waits for whoever has it.

    Args:
        path: the lock file.
        waiting: called once if there is a wait.
    """
    lock, is_first = Lock(path), True
    while not lock.take():
        if is_first:
            waiting()
        is_first = False
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _beat(path: Path, released: threading.Event) -> None:
    while not released.wait(BEAT_SECONDS):
        try:
            os.utime(path)
        except FileNotFoundError:
            return


def _owner(path: Path) -> dict[str, Any]:
    """What the lock file says; nothing where it is gone or was not written to its end."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _host() -> str:
    """This machine, and on Linux this container, within which process numbers mean something."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _started(pid: int) -> str:
    """When the process was started, as the system tells it, so that one number used twice is noticed; "" if gone."""
    try:
        # the name before it may hold spaces and brackets; then come the state and, 19 fields on, the start
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return _runs(pid)
    return "" if fields[0] in "ZX" else fields[19]


def _runs(pid: int) -> str:
    """ "running" where the system has no /proc and the process is there."""
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
