"""Which process made a thing on disk, and whether it still runs.

>>> Owner.of_this_process().is_gone()
False
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process on a machine.

    Attributes:
        pid: its number.
        started: when it was started, as the system tells it, so that a number used twice is noticed.
        host: the machine, and on Linux the container, within which process numbers mean something.
    """

    pid: int
    started: str
    host: str

    @staticmethod
    def of_this_process() -> Owner:
        """Ourselves."""
        pid = os.getpid()
        return Owner(pid, started(pid), host())

    def is_gone(self) -> bool | None:
        """Whether the process has ended; None where that cannot be looked at, because it is another machine's."""
        return None if self.host != host() else started(self.pid) != self.started

    def word(self) -> str:
        """The owner as a part of a file name; `of_word` reads it."""
        return f"{self.pid}-{self.started}-{_digest(self.host)}"


WORD = r"\d+-\w+-[0-9a-f]{8}"


def of_word(word: str) -> Owner | None:
    """The owner that `Owner.word` wrote, with this machine's full name where it is this machine; None if it is none."""
    if not re.fullmatch(WORD, word):
        return None
    pid, begun, digest = word.split("-")
    return Owner(int(pid), begun, host() if digest == _digest(host()) else digest)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def host() -> str:
    """This machine, and on Linux this container."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def started(pid: int) -> str:
    """When the process was started; "" if it is gone."""
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
