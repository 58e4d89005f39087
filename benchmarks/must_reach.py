"""The limits that condistill sets itself, measured: python benchmarks/must_reach.py [--out FILE] [--demo RUN]

    help      `condistill --help` in a fresh process                      < 1 s
    inspect   `condistill inspect sd-v1-4 --student b-base` on meta       < 5 s, < 1 GiB
    step      share of a training step inside the two networks           >= 90 %
    demo      wall time and peak memory of `condistill demo`              <= 8 min, <= 3 GiB (only with --demo)

Prints one line each and writes JSON with versions, processor and date. Nothing here is a test: times depend on the
machine and on what else it does.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from condistill.teacher.recording import shadowed


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a command in a fresh process."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def repeated(command: list[str], times: int) -> dict[str, float]:
    """Median seconds and largest peak of several runs."""
    rows = [measured(command) for _ in range(times)]
    return {"seconds": statistics.median(row[0] for row in rows), "peak_mib": max(row[1] for row in rows), "n": times}


class Clock:
    """Seconds spent in the parts of a run, and when its steps ended."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.steps: list[float] = []

    @contextmanager
    def timing(self, owner: Any, name: str, part: str) -> Iterator[None]:
        """Adds the time of every call of `owner.name` to `part`."""
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return real(*args, **kwargs)
            finally:
                self.spent[part] = self.spent.get(part, 0.0) + time.perf_counter() - start

        with shadowed(owner, name, call):
            yield

    def watch(self, bar: Any, num: int = 1, **notes: Any) -> None:
        """In place of Progress.advance: notes when a step ended."""
        if num:
            self.steps.append(time.perf_counter())
        bar.done += num


def step_shares(steps: int, batch: int) -> dict[str, Any]:
    """Seconds per part of a training step: embedded teacher, random b-base student, p_random sigmoid, on the CPU."""
    import torch
    from accelerate import Accelerator

    from condistill import Teacher, corpus, distill, generate
    from condistill.progress import Progress

    teacher, clock = Teacher.load("emoji"), Clock()
    student = teacher.student("b-base", init="random")
    keys = list(corpus({"world": "emoji", "group": "seen"}))[:64]
    call = {"num_inference_steps": 4}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cache = generate(teacher, keys, out=Path(folder, "D"), call=call, batch=64, progress=False)
        stack.enter_context(clock.timing(teacher.network, "forward", "teacher forward"))
        stack.enter_context(clock.timing(student.network, "forward", "student forward"))
        real_backward, real_advance = Accelerator.backward, Progress.advance

        def backward(accelerator: Any, loss: Any, **kwargs: Any) -> None:
            start = time.perf_counter()
            real_backward(accelerator, loss, **kwargs)
            clock.spent["backward"] = clock.spent.get("backward", 0.0) + time.perf_counter() - start

        stack.callback(setattr, Accelerator, "backward", real_backward)
        stack.callback(setattr, Progress, "advance", real_advance)
        Accelerator.backward, Progress.advance = backward, lambda bar, num=1, **n: clock.watch(bar, num, **n)  # type: ignore
        distill(
            teacher, student, cache, corpus={"world": "emoji"}, p_random="sigmoid", steps=steps, batch=batch,
            out=Path(folder, "run"), log_every=10, checkpoint_every=steps, progress=False,
        )  # fmt: skip
    # the first step warms everything up; it is left out of the whole and, evenly, of the parts
    whole = clock.steps[-1] - clock.steps[0]
    parts = {name: seconds * (steps - 1) / steps / whole for name, seconds in clock.spent.items()}
    return {
        "samples_per_second": round((steps - 1) * batch / whole, 1),
        "inside_networks": round(sum(parts.values()), 4),
        "shares": {name: round(share, 4) for name, share in parts.items()},
        "steps": steps,
        "batch": batch,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/must_reach.json"))
    parser.add_argument("--demo", type=Path, help="also run the demo, in this new folder")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    chosen = parser.parse_args()
    program = [sys.executable, "-m", "condistill"]
    from condistill.versions import versions

    found: dict[str, Any] = {
        "command": "python benchmarks/must_reach.py" + (" --demo DIR" if chosen.demo else ""),
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "versions": versions(),
        "help": repeated([*program, "--help"], 5),
        "inspect": repeated([*program, "inspect", "sd-v1-4", "--student", "b-base"], 3),
    }
    print(f"help     {found['help']['seconds']:.2f} s")
    print(f"inspect  {found['inspect']['seconds']:.2f} s, {found['inspect']['peak_mib']:.0f} MiB")
    found["step"] = step_shares(chosen.steps, chosen.batch)
    print(f"step     {found['step']['inside_networks']:.1%} inside the networks, {found['step']['shares']}")
    if chosen.demo:
        seconds, peak = measured([*program, "demo", "--out", str(chosen.demo)])
        found["demo"] = {"seconds": seconds, "peak_mib": peak}
        print(f"demo     {seconds / 60:.1f} min, {peak:.0f} MiB")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {chosen.out}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
