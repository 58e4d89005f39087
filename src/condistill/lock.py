"""Lock files that several processes, also on several machines, share the work in a folder by.

A lock is a file that only one process can create. Its owner touches it now and then; a lock is stale, and may be taken
over, when its owner's process is gone, or, where that cannot be looked at (another machine), after a long silence.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from condistill import processes
from condistill.errors import UserError
from condistill.files import beside
from condistill.owner import Owner

BEAT_SECONDS = 20.0
SILENT_SECONDS = 300.0  # fifteen beats: a machine that is only slow does not miss so many
QUIET_SECONDS = 60.0  # three beats: it may be gone, so it is worth while to wait and see
POLL_SECONDS = 1.0
NAME = ".lock"  # of the lock of a whole folder
# file systems without hard links say one of these
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)


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
        token, me = uuid.uuid4().hex, Owner.of_this_process()
        if not self._created(json.dumps({"pid": me.pid, "started": me.started, "host": me.host, "token": token})):
            return False
        self._token, self._released = token, threading.Event()
        threading.Thread(target=_beat, args=(self.path, self._released), daemon=True).start()
        return True

    def release(self) -> None:
        """Gives the lock back; one that was taken over meanwhile is left to its new owner."""
        self._released.set()
        if _read(self.path).get("token") == self._token:
            self.path.unlink(missing_ok=True)

    def owner(self) -> Owner | None:
        """Who has it, as far as the file says."""
        return _owner(_read(self.path))

    def silent_seconds(self) -> float:
        """How long ago its owner last touched it, by the clock of the disk; 0 where it is free."""
        try:
            return _disk_time(self.path.parent) - self.path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _created(self, text: str) -> bool:
        """Whether the file is now there because we made it; it appears with all of its text at once."""
        aside = beside(self.path)
        try:
            aside.write_text(text, encoding="utf-8")
            os.link(aside, self.path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _created_unlinked(self.path, text)
        finally:
            aside.unlink(missing_ok=True)
        return True

    def _stale(self) -> dict[str, Any] | None:
        """What the lock of an owner that is gone says; None where the lock is free or held."""
        if not self.path.exists():
            return None
        silent, said = self.silent_seconds(), _read(self.path)
        owner = _owner(said)
        is_gone = owner.is_gone() if owner else None
        return said if (silent > SILENT_SECONDS if is_gone is None else is_gone) else None

    def _break(self, stale: dict[str, Any]) -> None:
        """Removes the lock of `stale`; of two that try, one does, and neither removes the other's new lock."""
        aside = beside(self.path)
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if _read(aside) != stale:
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

    def busy(lock: Lock, is_first: bool) -> None:
        if is_first:
            waiting()
        owner = lock.owner()
        if owner is not None and owner.is_gone() is None:
            waited_for(lock, is_first)

    with _taken(Lock(path), busy):
        yield


Busy = Callable[[Lock, bool], None]  # is given a lock that somebody has, and whether it is told so for the first time
_MINE: ContextVar[frozenset[Path]] = ContextVar("folders that this thread has the lock of", default=frozenset())


@contextlib.contextmanager
def alone(folder: str | Path, busy: Busy | None = None) -> Iterator[None]:
    """A block during which no other process works in `folder`; inside another one for the same folder it is nothing.

    Under a launcher the first process has the lock for all of its run.

    Args:
        busy: raises where somebody else has the lock, or returns to wait; `refused` where not given.

    Raises:
        UserError: somebody else is at work there; who, where, and what to do.
    """
    where, mine = Path(folder).resolve(), _MINE.get()
    if where in mine or processes.is_silent():
        yield
        return
    with _taken(Lock(where / NAME), busy or refused):
        reset = _MINE.set(mine | {where})
        try:
            yield
        finally:
            _MINE.reset(reset)


@contextlib.contextmanager
def _taken(lock: Lock, busy: Busy) -> Iterator[None]:
    """A block during which the lock is ours; `busy` is asked again and again while somebody else has it."""
    is_first = True
    while not lock.take():
        busy(lock, is_first)
        is_first = False
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def refused(lock: Lock, is_first: bool) -> None:
    """Nothing, if the owner may be gone: on another machine, and silent for a while; then it is worth waiting to see.

    Raises:
        UserError: the owner is alive.
    """
    owner, silent = lock.owner(), max(lock.silent_seconds(), 0.0)
    if owner is None or (owner.is_gone() is None and silent > QUIET_SECONDS):
        if is_first:
            _note(_waiting(lock, owner))
        return
    who = "this process itself" if owner == Owner.of_this_process() else _named(owner)
    raise UserError(
        f"{lock.path.parent} is in use: {who} is at work in it (last sign of life {silent:.0f} s ago); wait for it, "
        "stop it, or choose another folder"
    )


def waited_for(lock: Lock, is_first: bool) -> None:
    """Nothing; says once who is waited for, and how long where this machine cannot see whether it still runs."""
    owner = lock.owner()
    if is_first and owner is not None:
        _note(_waiting(lock, owner))


def _waiting(lock: Lock, owner: Owner | None) -> str:
    who = "somebody" if owner is None else _named(owner)
    said = f"waiting for {who}, which is at work in {lock.path.parent}"
    if owner is not None and owner.is_gone() is not None:
        return said
    return (
        f"{said}: last sign of life {max(lock.silent_seconds(), 0.0):.0f} s ago, taken for gone after "
        f"{SILENT_SECONDS:g} s; where it is known to have ended, remove {lock.path} and this goes on at once"
    )


def _named(owner: Owner) -> str:
    return f"process {owner.pid} on {owner.host.split(' ')[0]}"


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _created_unlinked(path: Path, text: str) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def _disk_time(folder: Path) -> float:
    """Now, by the clock that the disk of `folder` stamps files with; two machines need not agree on the time."""
    probe = beside(folder / "clock")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _beat(path: Path, released: threading.Event) -> None:
    while not released.wait(BEAT_SECONDS):
        try:
            os.utime(path)
        except FileNotFoundError:
            return


def _read(path: Path) -> dict[str, Any]:
    """What the lock file says; nothing where it is gone or was not written to its end."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _owner(said: dict[str, Any]) -> Owner | None:
    pid, started, host = said.get("pid"), said.get("started"), said.get("host")
    if not (isinstance(pid, int) and isinstance(started, str) and isinstance(host, str)):
        return None
    return Owner(pid, started, host)
