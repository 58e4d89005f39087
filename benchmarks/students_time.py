"""Several students in one run against as many runs of one: condistill's own bench setting, all runs in turns.

    python benchmarks/students_time.py [--sets b-base,b-base,b-base ...] [--precision bf16] [--repeats 5] [--out FILE]

For each set of students: the share of the time of separate runs, what a step has in common (T) and each student's own
part (S), in milliseconds, and how many multiply-accumulates of the teacher's a student has. Prints JSON.
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

SETS = ("b-base,b-base,b-base", "b-base,b-small,b-tiny", "b-tiny,width=0.75,width=0.5")
STEPS = 2  # of a block


def compared(found: Any, by_spec: Mapping[str, Any], specs: Sequence[str], asked: argparse.Namespace) -> dict[str, Any]:
    """What one set takes together and one by one; processor time, medians over blocks that take turns.

    Args:
        by_spec: the students.
        specs: of the set, in which one may be several times.
    """
    from condistill.bench.clock import ratio
    from condistill.bench.comparing import alternated

    by_spec = {spec: by_spec[spec] for spec in dict.fromkeys(specs)}
    name = "-".join(specs)
    runs = {spec: found.run([one], f"{name}-{spec}", 1000, precision=asked.precision) for spec, one in by_spec.items()}
    runs["together"] = found.run([by_spec[spec] for spec in specs], name, 1000, precision=asked.precision)
    loops: dict[str, Any] = {key: lambda run=run: run.advance(STEPS) for key, run in runs.items()}
    for work in loops.values():
        work()
    whole = alternated(lambda: loops, asked.repeats, found.device)
    for run in runs.values():
        run.end()
    each = {key: [1000 * one.processor_seconds / STEPS for one in blocks] for key, blocks in whole.items()}
    apart = [sum(each[spec][k] for spec in specs) for k in range(asked.repeats)]
    ms = {key: statistics.median(times) for key, times in each.items()}
    # together = T + sum of S, apart = n T + sum of S
    common = (sum(ms[spec] for spec in specs) - ms["together"]) / (len(specs) - 1)
    whole_macs = _macs(found.teacher.network)
    macs = {spec: _macs(one.network) / whole_macs for spec, one in by_spec.items()} if whole_macs else None
    return {
        "students": list(specs), "share": ratio(each["together"], apart), "ms": ms, "common_ms": common,
        "own_ms": {spec: ms[spec] - common for spec in by_spec}, "macs_of_the_teacher": macs,
    }  # fmt: skip


def _macs(network: Any) -> int:
    """Of one pass for one item; 0 where the arguments of its class are not known."""
    from condistill.students.costs import count_macs

    return (count_macs(type(network), network.config) or {"total": 0})["total"]


def main() -> None:
    """Measures and prints."""
    from condistill.bench.comparing import about, chosen_size
    from condistill.bench.setting import setting

    parser = options(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, metavar="STUDENT,STUDENT,...")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        size, device = chosen_size(asked.size, tiny=asked.tiny)
        found = setting(size, Path(folder), tiny=asked.tiny, device=device, batch=None)
        by_spec = {spec: found.student(spec) for one in asked.sets for spec in one.split(",")}
        sets = [compared(found, by_spec, one.split(","), asked) for one in asked.sets]
        whole = {**about(found, asked.size, asked.tiny), "precision": asked.precision, "sets": sets}
    say(whole, asked.out)


if __name__ == "__main__":
    main()
