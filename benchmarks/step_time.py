"""A step's time against batch and number of students: condistill's own bench setting, every number of them in turns.

    python benchmarks/step_time.py [--batches 8 16 ...] [--students 1 2 3] [--precision bf16] [--repeats 5] [--out FILE]

Of a size of `condistill bench` (the embedded teacher by default), one thread on a CPU. All students are alike, so that
what they share can be read from the line through their times. Prints JSON.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from turns import options, say

SAMPLES = 128  # of a block, so that blocks of small batches are as long as those of large ones


def blocks(found: Any, runs: Mapping[int, tuple[Any, int]], repeats: int) -> list[dict[str, float]]:
    """Milliseconds of a step of each run, medians over blocks that take turns.

    Args:
        runs: number -> (run, steps in a block).
    """
    from condistill.bench.comparing import alternated

    def loops() -> dict[str, Any]:
        return {str(number): lambda run=run, n=n: run.advance(n) for number, (run, n) in runs.items()}

    for work in loops().values():
        work()
    whole = alternated(loops, repeats, found.device)
    rows = []
    for number, (run, n) in runs.items():
        run.end()
        row: dict[str, float] = {"number": number, "n": repeats}
        for clock in ("seconds", "processor_seconds"):
            each = [1000 * getattr(one, clock) / n for one in whole[str(number)]]
            row |= {f"ms_{clock}": statistics.median(each), f"ms_{clock}_low": min(each), f"ms_{clock}_high": max(each)}
        rows.append(row)
    return rows


def line(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Least squares of a step's processor milliseconds: `fixed` + `each` times the number."""
    import numpy as np

    numbers, times = ([row[name] for row in rows] for name in ("number", "ms_processor_seconds"))
    each, fixed = np.polyfit(numbers, times, 1)
    return {"fixed": float(fixed), "each": float(each)}


def measured(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, as plain numbers."""
    from condistill.bench.comparing import about, chosen_size
    from condistill.bench.setting import setting

    size, device = chosen_size(asked.size, tiny=asked.tiny)
    found = setting(size, folder, tiny=asked.tiny, device=device, batch=None)
    student, told = found.student(size.students[0]), {"precision": asked.precision}
    by_batch = {
        batch: (found.run([student], f"batch-{batch}", 1000, batch=batch, micro_batch=batch, **told),
                max(1, SAMPLES // batch))
        for batch in asked.batches
    }  # fmt: skip
    rows = blocks(found, by_batch, asked.repeats)
    by_students = {k: (found.run([student] * k, f"students-{k}", 1000, **told), 2) for k in asked.students}
    several = blocks(found, by_students, asked.repeats)
    return {
        **about(found, asked.size, asked.tiny), "precision": asked.precision, "student": size.students[0],
        "batches": rows, "batches_line": line(rows), "students": several, "students_line": line(several),
    }  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = options(__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8, 16, 32, 64, 128])
    parser.add_argument("--students", type=int, nargs="+", default=[1, 2, 3])
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(asked, Path(folder))
    say(found, asked.out)


if __name__ == "__main__":
    main()
