"""The median of a few calls, the first one aside."""

from __future__ import annotations

import pytest

from condistill import stopwatch


def test_the_first_call_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, spent = [0.0], iter([100.0, 3.0, 1.0, 2.0])

    def work() -> None:
        now[0] += next(spent)

    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    assert stopwatch.median_seconds(work, repeats=3) == 2.0
    assert next(spent, None) is None
