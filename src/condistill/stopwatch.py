"""Stopwatch: how long work takes, with the device waited for.

>>> median_seconds(lambda: None, repeats=3) < 1.0
True
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def waited(device: Any) -> None:
    """Nothing; the device, None for the CPU, has finished what it was given."""
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def median_seconds(work: Callable[[], Any], *, repeats: int, device: Any = None) -> float:
    """Seconds of one call: the median of a few after one that is not timed.

    Args:
        device: the torch device that it works on; one that has finished by itself when `work` returns may be left out.
    """
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        waited(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])
