"""What each of two processes does in test_processes.py: python two_processes.py FOLDER"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from condistill import Cache, Teacher, distill, generate
from tests import tiny

KEYS = [f"key {k}" for k in range(9)]
CALL = {"num_inference_steps": 2, "guidance_scale": 2.0}
OPTIONS: dict[str, Any] = dict(
    corpus=["x", "y"], batch=8, micro_batch=2, lr=1e-3, log_every=2, checkpoint_every=2, progress=False
)


def made(teacher: Teacher, folder: Path) -> Cache:
    """D in five shards."""
    return generate(teacher, KEYS, out=folder, call=CALL, shard_items=2, batch=1, progress=False)


def trained(teacher: Teacher, cache: Cache, folder: Path, *, steps: int) -> None:
    """A student with projections, trained to `steps` in all."""
    distill(teacher, teacher.student("c-micro", init="random"), cache, out=folder, steps=steps, **OPTIONS)


def main(folder: Path) -> None:
    """D and a run by both; a run begun by both and one gone on with by both; then this process or the other dies."""
    torch.set_num_threads(1)
    teacher = Teacher.from_pipeline(tiny.sd())
    cache = made(teacher, folder / "D2")
    trained(teacher, cache, folder / "two", steps=4)
    trained(teacher, cache, folder / "two-one", steps=2)
    trained(teacher, cache, folder / "one-two", steps=4)
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    trained(teacher, cache, folder / "alone", steps=4)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
