"""Stops a run on four processes, goes on with two, then with four again, and compares it with one process's.

    python benchmarks/elastic.py [--steps 12] [--batch 16] [--out DIR]

The processes are forks of this one that join over gloo on a CPU. One of them is told to stop (SIGTERM) in the middle of
a step; all of them finish it, save and end with 130. Prints one JSON object: whether the draws were the same, and the
largest differences of losses (relative) and of weights.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from condistill import Teacher, distill, generate
from condistill.world import exact

DRAWS = ("step", "swap_rate", "swap_rate_by_time", "lr")


def by(num: int, work: Callable[[], None]) -> list[int]:
    """The exit codes of `num` processes that did the work together; 130 of those that were stopped."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(num), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    sys.stdout.flush()
    sys.stderr.flush()
    children = []
    for rank in range(num):
        pid = os.fork()
        if pid == 0:
            os.environ.update(world, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(num))
            _ended(work)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def _ended(work: Callable[[], None]) -> None:
    from accelerate.state import AcceleratorState

    code = 1
    try:
        torch.set_num_threads(1)
        AcceleratorState._reset_state(reset_partial_state=True)  # what the parent found out about itself
        work()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class Run:
    """A small student of the exact world, trained in a folder by however many processes call it.

    Args:
        folder: for D and the runs.
        batch: in all; must divide by four.
    """

    def __init__(self, folder: Path, *, batch: int) -> None:
        self.folder, self.batch = folder, batch
        self.teacher = Teacher.from_pipeline(exact.pipeline_of(6))
        keys = exact.prompts("seen", num_concepts=6)
        self.cache = generate(self.teacher, keys, out=folder / "D", num_items=64, batch=64, progress=False)

    def __call__(self, name: str, *, steps: int, stopped_in: int | None = None) -> None:
        """Trains to `steps` in all; process 1 is told to stop in the middle of step `stopped_in` of this start."""
        torch.manual_seed(0)
        student = self.teacher.with_network(exact.ExactStudent())
        calls = 0

        def stop(*_: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == stopped_in and os.environ.get("RANK") == "1":
                os.kill(os.getpid(), signal.SIGTERM)

        student.network.register_forward_pre_hook(stop)
        distill(
            self.teacher, student, self.cache, corpus=exact.prompts("all", num_concepts=6), p_random="exponential",
            steps=steps, batch=self.batch, lr=1e-3, loss={"feature": 0.0}, log_every=1, trackers="none",
            out=self.folder / name, progress=False,
        )  # fmt: skip

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of its log that have a loss."""
        rows = map(json.loads, (self.folder / name / "log.jsonl").read_text("utf-8").splitlines())
        return [row for row in rows if row["event"] == "step"]

    def compared(self, one: str, other: str, *, steps: int) -> dict[str, Any]:
        """Whether two runs drew the same, and how far apart they are."""
        pairs = list(zip(self.lines(one), self.lines(other), strict=True))
        file = f"checkpoints/step-{steps:08d}/0.pupil.safetensors"
        mine, theirs = (load_file(self.folder / name / file) for name in (one, other))
        counts = [([by["n"] for by in a["by_time"]], [by["n"] for by in b["by_time"]]) for a, b in pairs]
        return {
            "steps": [a["step"] for a, _ in pairs],
            "same_draws": all(a[k] == b[k] for a, b in pairs for k in DRAWS) and all(a == b for a, b in counts),
            "loss": max(abs(a["loss"] / b["loss"] - 1) for a, b in pairs),
            "weights": max(float((value - theirs[name]).abs().max()) for name, value in mine.items()),
        }


def main() -> None:
    """The comparison."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--out", type=Path, default=None)
    given = options.parse_args()
    torch.set_num_threads(1)
    run = Run(given.out or Path(tempfile.mkdtemp(prefix="elastic-")), batch=given.batch)
    run("one", steps=given.steps)
    third = given.steps // 3
    codes = [by(4, lambda: run("changing", steps=given.steps, stopped_in=third))]
    codes.append(by(2, lambda: run("changing", steps=given.steps, stopped_in=third)))
    codes.append(by(4, lambda: run("changing", steps=given.steps)))
    assert codes == [[130] * 4, [130] * 2, [0] * 4], codes
    print(
        json.dumps({"processes": [4, 2, 4], "batch": given.batch, **run.compared("one", "changing", steps=given.steps)})
    )


if __name__ == "__main__":
    main()
