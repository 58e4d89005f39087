"""One progress view for everything that takes long: a live one on a terminal, a line now and then elsewhere; and the
same as JSON lines in a file, for programs."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from condistill.errors import Remark, brief
from condistill.memory import peak_mib

FILE = "progress.jsonl"  # in a run folder


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
        every_seconds: the interval between lines, in the file and where output is no terminal.
        enabled: False shows and writes nothing (other ranks, ``progress=False``).
        file: is appended a JSON line at the start, now and then, and at the end; see `Lines`.
        folder: where the work is done; it stands in those lines.
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
        file: Path | None = None,
        folder: str | Path = "",
    ):
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self._first, self._every, self._enabled = done, every_seconds, enabled
        self._stream = stream or sys.stderr
        # a dumb terminal cannot draw over what it has drawn
        self._live = enabled and self._stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
        self._lines = Lines(file, {"what": what, "folder": str(folder), "unit": unit}) if enabled and file else None
        self._notes: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._start = self._shown = self._written = time.monotonic()
        self._view = View(self._stream) if self._live else None
        self._show()
        self._log("start")
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
        if now - self._written >= self._every:
            self._written = now
            self._log("progress")

    def line(self) -> str:
        """The line as it would be shown now."""
        share = 100 * self.done / self.total if self.total else 100.0
        speed, left = self._pace()
        noted = f"{self._noted()}  memory {_memory()}"
        return f"{self.what}: {self.done}/{self.total} {self.unit} ({share:.0f} %)  {speed}  {left} left{noted}"

    def _rate(self) -> float:
        """Units in a second, of those that this process has done."""
        elapsed = time.monotonic() - self._start
        return (self.done - self._first) / elapsed if elapsed > 0 else 0.0

    def _pace(self) -> tuple[str, str]:
        """How fast, and how long still."""
        rate = self._rate()
        speed = f"{rate:.1f} {self.unit}/s" if rate >= 0.095 else f"{1 / rate:.0f} s/{self.unit}" if rate > 0 else "-"
        return speed, duration((self.total - self.done) / rate) if rate > 0 else "?"

    def _noted(self) -> str:
        return "".join(f"  {name} {value}" for name, value in self._notes.items())

    def _show(self) -> None:
        if self._view is not None:
            speed, left = self._pace()
            noted = {**self._notes, "memory": _memory()}
            self._view.show(self.what, self.done, self.total, f"{self.unit}  {speed}  {left} left", noted)

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _log(self, event: str) -> None:
        if self._lines is None:
            return
        rate = self._rate()
        self._lines.add(
            event, done=self.done, total=self.total, rate=rate or None,
            seconds_left=(self.total - self.done) / rate if rate else None,
            seconds=time.monotonic() - self._start, memory_mib=peak_mib(), notes=self._notes,
        )  # fmt: skip

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._enabled:
            return
        self._log("end" if kind is None else "stopped")
        if self._view is not None:
            self._view.close()
        took = duration(time.monotonic() - self._start)
        state = "done in" if kind is None else "stopped after"
        self._write(f"{self.what}: {self.done}/{self.total} {self.unit}, {state} {took}{self._noted()}")


def _memory() -> str:
    return f"{peak_mib() / 1024:.1f} GiB"


def file_in(folder: str | Path, progress: bool | str | Path) -> Path | None:
    """Where the lines of work in `folder` go: the file that was named, else one in the folder; None to write none.

    >>> file_in("runs/a", True).as_posix(), file_in("runs/a", "b.jsonl").as_posix(), file_in("runs/a", False)
    ('runs/a/progress.jsonl', 'b.jsonl', None)
    """
    if isinstance(progress, bool):
        return Path(folder) / FILE if progress else None
    return Path(progress)


class Lines:
    """A file that programs follow, appended to by every start: one JSON object a line.

    It is only looked at. Where it cannot be written, that is one line on standard error, and no more are written.

    Args:
        path: the file; its folder is made.
        about: what stands in every line.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]):
        self._path, self._about, self._is_whole, self._has_failed = path, dict(about), False, False

    def add(self, event: str, **values: Any) -> None:
        """Appends a line, with the time."""
        if self._has_failed:
            return
        line = json.dumps({"event": event, **self._about, **values, "time": time.time()}, default=str) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "ab+") as file:
                if not self._is_whole and file.tell():
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else "\n" + line  # a power cut left half a line
                file.write(line.encode())
            self._is_whole = True
        except OSError as error:
            self._has_failed = True
            warnings.warn(Remark(f"{self._path} is not written any more: {brief(error)}"), stacklevel=2)


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
