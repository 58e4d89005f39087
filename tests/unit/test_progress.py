"""Progress says how far, how fast and how long still, on a terminal and in a file."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import sys
from pathlib import Path

import pytest

from condistill.errors import Remark
from condistill.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_now_and_then_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with Progress("making D", 4, unit="images", every_seconds=0.0, stream=out) as bar:
        for _ in range(4):
            bar.advance(1, loss="0.3")
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("making D: 1/4 images (25 %)") and "left" in lines[0] and "loss 0.3" in lines[0]
    assert lines[-1].startswith("making D: 4/4 images, done in") and len(lines) == 5


def test_a_bar_on_a_terminal_rewrites_its_line() -> None:
    out = Terminal()
    with Progress("training", 2, stream=out) as bar:
        bar.advance(2)
    assert out.getvalue().startswith("\r") and out.getvalue().endswith("\n")


def test_work_done_before_does_not_count_as_speed() -> None:
    with Progress("training", 100, done=90, stream=io.StringIO()) as bar:
        bar._start -= 10.0
        bar.advance(5)
        assert "95/100" in bar.line() and "0.5 steps/s" in bar.line() and "10s left" in bar.line()


def test_silent_when_asked_and_honest_when_stopped() -> None:
    out = io.StringIO()
    with Progress("x", 1, enabled=False, stream=out) as bar:
        bar.advance()
    assert out.getvalue() == ""
    with pytest.raises(RuntimeError), Progress("x", 2, stream=out):
        raise RuntimeError
    assert "0/2 steps, stopped after" in out.getvalue()


def test_programs_get_json_lines_wherever_people_look(tmp_path: Path) -> None:
    file = tmp_path / "run" / "progress.jsonl"
    for stream in (io.StringIO(), Terminal()):
        with Progress("training", 6, done=2, every_seconds=0.0, stream=stream, file=file, folder="run") as bar:
            bar._start -= 10.0
            bar.advance(1, loss="0.3")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["event"] for row in rows] == ["start", "progress", "end"] * 2
    first, now = rows[:2]
    assert first["rate"] is None and first["seconds_left"] is None and first["done"] == 2
    assert (now["what"], now["folder"], now["unit"], now["done"], now["total"]) == ("training", "run", "steps", 3, 6)
    assert now["rate"] == pytest.approx(0.1, rel=0.1) and now["seconds_left"] == pytest.approx(30, rel=0.1)
    assert now["memory_mib"] > 1 and now["seconds"] >= 10 and now["notes"] == {"loss": "0.3"} and now["time"] > 1e9
    # a power cut leaves half a line, which the next start does not add to
    file.write_text('{"event": "st')
    with pytest.raises(KeyboardInterrupt), Progress("x", 1, stream=io.StringIO(), file=file):
        raise KeyboardInterrupt
    assert [json.loads(line)["event"] for line in file.read_text().splitlines()[1:]] == ["start", "stopped"]
    # nothing is worth a run less than its progress
    with (
        pytest.warns(Remark, match=r"run/progress.jsonl/x is not written any more"),
        Progress("x", 1, stream=io.StringIO(), file=file / "x") as bar,
    ):
        bar.advance()
    with Progress("x", 1, enabled=False, file=tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()


SCRIPT = """
import sys, time, warnings
from condistill.progress import Progress
from condistill.stopping import interruptible

with Progress("training", 1000, every_seconds=0.0) as bar, interruptible() as stop:
    for step in range(1000):
        bar.advance(1, loss="0.31", swapped="25 %")
        time.sleep(0.01)
        if step == 30:
            print("something else", file=sys.stderr)
            print("READY", flush=True)
        if stop.is_set():
            raise KeyboardInterrupt
"""


def on_a_terminal(**environment: str) -> str:
    """What the script writes on a terminal of its own, in which Ctrl-C is pressed while it works."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", SCRIPT], {**os.environ, "TERM": "xterm", **environment})
    said, has_asked = b"", False
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        said += part
        if not part:
            break
        if not has_asked and b"READY" in said:
            has_asked = True
            os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGINT  # as Python ends then
    os.close(terminal)
    return said.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_on_a_real_terminal_the_view_is_live_and_ctrl_c_leaves_it_in_order() -> None:
    said = on_a_terminal()
    view, _, after = said.rpartition("\x1b[?25h")  # the cursor is shown again
    assert "\x1b[?25l" in view and "\x1b" not in after.partition("training: ")[2]
    for shown in ("/1000", "steps/s", "left", "loss 0.31", "swapped 25 %", "memory", "GiB", "\x1b[1A"):
        assert shown in re.sub(r"\x1b\[[0-9;]*m", "", view), shown
    assert re.search(r"something else\s", view) and "training: " in after and "stopped after" in after
    # one that cannot draw over what it has drawn gets lines
    plain = on_a_terminal(TERM="dumb")
    assert "\x1b" not in plain and "training: 2/1000 steps (0 %)" in plain
