"""Progress says how far, how fast and how long still, on a terminal and in a file."""

from __future__ import annotations

import io

import pytest

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
