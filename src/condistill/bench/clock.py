"""Clock: seconds of wall and of processor time, whole and by part, with the device waited for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from condistill.stopwatch import waited
from condistill.teacher.shadowing import shadowed


@dataclass(frozen=True)
class Taken:
    """What a block took.

    Attributes:
        seconds: wall time.
        processor_seconds: of all threads of this process; on a shared machine the steadier of the two.
    """

    seconds: float
    processor_seconds: float


def taken(work: Callable[[], Any], device: torch.device) -> Taken:
    """What `work` took, until the device had finished it."""
    waited(device)
    wall, processor = time.perf_counter(), time.process_time()
    work()
    waited(device)
    return Taken(time.perf_counter() - wall, time.process_time() - processor)


@dataclass
class Clock:
    """Processor seconds (on a GPU: wall seconds, waiting for it) by part of a step."""

    device: torch.device
    spent: dict[str, float] = field(default_factory=dict)
    _inner: float = 0.0  # of parts inside the part that is running, which are their own

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds the time of the block to part `name`, without that of other parts inside it."""
        outer, self._inner = self._inner, 0.0
        start = self._now()
        try:
            yield
        finally:
            whole = self._now() - start
            self.spent[name] = self.spent.get(name, 0.0) + whole - self._inner
            self._inner = outer + whole

    @contextmanager
    def watching(self, calls: Sequence[tuple[Any, str, str]]) -> Iterator[None]:
        """Inside the block every call of `owner.name` is added to `part`.

        Args:
            calls: (owner, name, part).
        """
        with ExitStack() as stack:
            for owner, name, part in calls:
                stack.enter_context(shadowed(owner, name, self._timed(getattr(owner, name), part)))
            yield

    def shares(self, whole: float) -> dict[str, float]:
        """Each part's share of `whole` seconds, and of what is left as "other"."""
        found = {name: seconds / whole for name, seconds in self.spent.items()}
        return {**found, "other": max(0.0, 1.0 - sum(found.values()))}

    def _timed(self, real: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.part(part):
                return real(*args, **kwargs)

        return call

    def _now(self) -> float:
        waited(self.device)
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()


def ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float]:
    """How many times as long the first took: median, lowest and highest over the repeats, each by itself.

    >>> ratio([2.0, 4.0, 6.0], [1.0, 1.0, 2.0])
    {'median': 3.0, 'low': 2.0, 'high': 4.0, 'n': 3}
    """
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return {"median": statistics.median(each), "low": min(each), "high": max(each), "n": len(each)}
