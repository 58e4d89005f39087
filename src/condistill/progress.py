"""One progress view for everything that takes long: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(75), duration(4000), duration(3.2)
    ('1m15s', '1h06m', '3s')
    """
    seconds = max(0, round(seconds))
    if seconds >= 3600:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
    return f"{seconds // 60}m{seconds % 60:02d}s" if seconds >= 60 else f"{seconds}s"


class Progress:
    """A context manager that shows how far, how fast and how long still.

    Args:
        what: what is being done, as a phrase ("making D").
        total: the number of units in all.
        unit: their plural name.
        done: units done before this process started; they do not count towards the rate.
        every_seconds: the interval between lines where output is no terminal.
        enabled: False shows nothing (other ranks, ``progress=False``).
    """

    def __init__(
        self,
        what: str,
        total: int,
        *,
        unit: str = "steps",
        done: int = 0,
        every_seconds: float = 10.0,
        enabled: bool = True,
        stream: TextIO | None = None,
    ):
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self._first, self._every, self._enabled = done, every_seconds, enabled
        self._stream = stream or sys.stderr
        self._live = enabled and self._stream.isatty()
        self._notes: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._start = self._shown = time.monotonic()
        return self

    def advance(self, num: int = 1, **notes: Any) -> None:
        """Counts `num` units as done; `notes` (loss="0.31") are shown at the end of the line."""
        self.done += num
        self._notes.update(notes)
        if not self._enabled:
            return
        now = time.monotonic()
        if now - self._shown >= (0.2 if self._live else self._every):
            self._shown = now
            self._write(self.line(), end="")

    def line(self) -> str:
        """The line as it would be shown now."""
        elapsed = time.monotonic() - self._start
        rate = (self.done - self._first) / elapsed if elapsed > 0 else 0.0
        left = duration((self.total - self.done) / rate) if rate > 0 else "?"
        share = 100 * self.done / self.total if self.total else 100.0
        notes = "".join(f"  {name} {value}" for name, value in self._notes.items())
        speed = f"{rate:.1f} {self.unit}/s" if rate >= 0.095 else f"{1 / rate:.0f} s/{self.unit}" if rate > 0 else "-"
        return f"{self.what}: {self.done}/{self.total} {self.unit} ({share:.0f} %)  {speed}  {left} left{notes}"

    def _write(self, text: str, *, end: str) -> None:
        if self._live:
            self._stream.write("\r\033[K" + text + end)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._enabled:
            return
        took = duration(time.monotonic() - self._start)
        state = "done in" if kind is None else "stopped after"
        notes = "".join(f"  {name} {value}" for name, value in self._notes.items())
        self._write(f"{self.what}: {self.done}/{self.total} {self.unit}, {state} {took}{notes}", end="\n")
