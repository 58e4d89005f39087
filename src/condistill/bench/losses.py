"""Losses: the same training by the plain loop and by ours, step by step, until it can be seen whether they part."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from condistill.bench.clock import Clock
from condistill.bench.comparing import Turns, about, chosen_size, variants
from condistill.bench.setting import setting

BLOCK = 10  # steps whose losses are averaged


def losses(
    size: str = "world", *, steps: int = 200, tiny: bool = False, batch: int | None = None, compiled: bool = False
) -> dict[str, Any]:
    """Mean losses by blocks of ten steps of the plain loop and of ours, and how far they are apart.

    "difference" is the largest relative difference of a block, "last" that of the last quarter's mean.

    Args:
        size, tiny, batch, compiled: as in `bench`.
        steps: of each; whole blocks of ten are compared.

    Raises:
        UserError: unknown size, or one that wants a GPU where there is none.
    """
    chosen, device = chosen_size(size, tiny=tiny)
    with tempfile.TemporaryDirectory() as folder:
        found = setting(chosen, Path(folder), tiny=tiny, device=device, batch=batch)
        student, told = found.student(chosen.students[0]), variants(chosen, compiled=compiled)
        runs = {name: found.run([student], name, BLOCK, **changes) for name, changes in told.items()}
        turns = Turns(found.plain_loop(student, Clock(device)), runs, found, BLOCK)
        for _ in range(max(1, steps // BLOCK)):
            for work in turns.loops().values():
                work()
        for run in runs.values():
            run.advance(1)  # a line of the log is written when the step after it begins
            run.end()
        kept: dict[str, Any] = {"plain": {"losses": turns.losses}}
        for name in runs:
            ours = turns.losses_of(name)
            kept[name] = {"losses": ours, "difference": turns.difference(name), "last": _last(ours, turns.losses)}
        return {**about(found, size, tiny), "steps": len(turns.losses) * BLOCK, "block": BLOCK, "training": kept}


def _last(ours: list[float], plain: list[float]) -> float:
    """By how much the mean of the last quarter of the blocks is larger (or, negative, smaller), relatively."""
    quarter = max(1, len(plain) // 4)
    return statistics.fmean(ours[-quarter:]) / statistics.fmean(plain[-quarter:]) - 1
