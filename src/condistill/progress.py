"""One progress view for everything that takes long: a live one on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from condistill.memory import peak_mib


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
        # a dumb terminal cannot draw over what it has drawn
        self._live = enabled and self._stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
        self._notes: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._start = self._shown = time.monotonic()
        self._view = View(self._stream) if self._live else None
        self._show()
        return self

    def advance(self, num: int = 1, **notes: Any) -> None:
        """Counts `num` units as done; `notes` (loss="0.31") are shown at the end of the line, or below the bar."""
        self.done += num
        self._notes.update(notes)
        if not self._enabled:
            return
        now = time.monotonic()
        if now - self._shown >= (0.2 if self._live else self._every):
            self._shown = now
            self._show()
            if not self._live:
                self._write(self.line())

    def line(self) -> str:
        """The line as it would be shown now."""
        share = 100 * self.done / self.total if self.total else 100.0
        speed, left = self._pace()
        return f"{self.what}: {self.done}/{self.total} {self.unit} ({share:.0f} %)  {speed}  {left} left{self._noted()}"

    def _pace(self) -> tuple[str, str]:
        """How fast, and how long still."""
        elapsed = time.monotonic() - self._start
        rate = (self.done - self._first) / elapsed if elapsed > 0 else 0.0
        speed = f"{rate:.1f} {self.unit}/s" if rate >= 0.095 else f"{1 / rate:.0f} s/{self.unit}" if rate > 0 else "-"
        return speed, duration((self.total - self.done) / rate) if rate > 0 else "?"

    def _noted(self) -> str:
        return "".join(f"  {name} {value}" for name, value in self._notes.items())

    def _show(self) -> None:
        if self._view is not None:
            speed, left = self._pace()
            noted = {**self._notes, "memory": f"{peak_mib() / 1024:.1f} GiB"}
            self._view.show(self.what, self.done, self.total, f"{self.unit}  {speed}  {left} left", noted)

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._enabled:
            return
        if self._view is not None:
            self._view.close()
        took = duration(time.monotonic() - self._start)
        state = "done in" if kind is None else "stopped after"
        self._write(f"{self.what}: {self.done}/{self.total} {self.unit}, {state} {took}{self._noted()}")


class View:
    """A bar with what is noted below it, drawn anew in its place on a terminal; what others print goes above it."""

    def __init__(self, stream: TextIO):
        from rich.console import Console
        from rich.live import Live

        stream.write("\r\033[K")  # whatever stands in the line already
        self._live = Live(console=Console(file=stream), auto_refresh=False, transient=True)
        self._live.start()

    def show(self, what: str, done: int, total: int, pace: str, notes: Mapping[str, Any]) -> None:
        """Draws it: rate and time left beside the bar, the notes below."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bar = Table.grid(padding=(0, 1), pad_edge=False)
        bar.add_row(
            Text(what), ProgressBar(total=max(total, 1), completed=done, width=24), Text(f"{done}/{total} {pace}")
        )
        noted = Text(no_wrap=True, overflow="ellipsis")
        for name, value in notes.items():
            noted.append(f"  {name} ", style="dim").append(str(value))
        self._live.update(Group(bar, noted), refresh=True)

    def close(self) -> None:
        """Takes it off the terminal, which is then as it was."""
        self._live.stop()
