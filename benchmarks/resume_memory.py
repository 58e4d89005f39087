"""Peak memory of going on with a run against that of starting it: python benchmarks/resume_memory.py [--channels N]

A student of a Stable Diffusion with random weights is trained from step 0 to 2 in one process, and in another from the
checkpoint of step 2 to step 4. Prints the largest resident memory of each (VmHWM) in MiB as one JSON object; exit code
1 if going on took more than 1 % above starting.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))


def one(folder: Path, steps: int, channels: int) -> None:
    """Trains to `steps` in this process, and prints its peak."""
    import torch

    from condistill import Teacher, distill, generate
    from tests import tiny

    torch.set_num_threads(1)
    widths: Any = tuple(channels * k for k in (1, 2, 4, 4))
    teacher = Teacher.from_pipeline(tiny.sd(block_out_channels=widths))
    call = {"num_inference_steps": 1}
    cache = generate(teacher, ["a", "b"], out=folder / "D", call=call, progress=False)
    student = teacher.student("b-base")
    options: dict[str, Any] = {"batch": 1, "checkpoint_every": 100, "progress": False, "loss": {"feature": 0.0}}
    distill(teacher, student, cache, out=folder / "run", steps=steps, **options)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    size = sum(p.numel() for p in student.network.parameters())
    print(json.dumps({"mib": int(peak.split()[1]) // 1024, "parameters": size}))


def main() -> int:
    """1 if going on took more memory."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--channels", type=int, default=96)
    options.add_argument("--one", nargs=2, default=None, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        one(Path(given.one[0]), int(given.one[1]), given.channels)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for steps in (2, 4):
            command = [sys.executable, __file__, "--channels", str(given.channels), "--one", folder, str(steps)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    start, resumed = (row["mib"] for row in found)
    print(json.dumps({"parameters": found[0]["parameters"], "start_mib": start, "resume_mib": resumed}))
    return int(resumed > 1.01 * start)


if __name__ == "__main__":
    sys.exit(main())
