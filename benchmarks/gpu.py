"""All sizes that want a GPU, one after the other within a time, in one JSON file: what a machine with a GPU is asked.

    python benchmarks/gpu.py --out benchmarks/results/bench-gpu.json [--seconds 590] [--sizes sd sdxl mmdit] [--tiny]

Each size is `condistill bench --size SIZE --compile` in a process of its own, so that none takes memory from another,
and gets an equal part of the time that is left; where it does not end in it, or fails, what it said stands in its
place. Then the limits that condistill sets itself on an H200 are compared with what was measured. `--tiny` tries the
script on a CPU and says nothing of a GPU. Ends with status 1 if a size was not measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SIZES = ("sd", "sdxl", "mmdit")
STEPS = {"sd": 4, "sdxl": 4, "mmdit": 4}  # of a block
GIB_IN_MIB = 1024
Found = Mapping[str, Any]


def measured(size: str, asked: argparse.Namespace, seconds: float, folder: Path) -> dict[str, Any]:
    """What `condistill bench` found of one size, or why it found nothing."""
    out = folder / f"{size}.json"
    command = [sys.executable, "-m", "condistill", "bench", "--size", size, "--steps", str(STEPS[size])]
    command += ["--repeats", str(asked.repeats), "--out", str(out)]
    command += ["--tiny", "--batch", "2"] if asked.tiny else ["--compile"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode(errors="replace")
        return {"not_measured": f"not done after {seconds:.0f} s", "said": said[-2000:]}
    if ended.returncode:
        return {"not_measured": f"status {ended.returncode}", "said": (ended.stderr or ended.stdout)[-2000:]}
    print(ended.stdout, file=sys.stderr)
    return json.loads(out.read_text(encoding="utf-8"))


def fastest(found: Found) -> Found:
    """The fastest of our ways of training."""
    ours = [one for name, one in found["training"].items() if name != "plain"]
    return max(ours, key=lambda one: one["ratio"]["wall"]["median"])


def wall(ratio: Found) -> float:
    """The median by the clock on the wall."""
    return ratio["wall"]["median"]


def of_step(*names: str) -> Callable[[Found], float]:
    """The share of a step of the named parts together."""
    return lambda found: sum(fastest(found)["parts"].get(name, 0.0) for name in names)


# name -> (size, what is looked at, the limit, whether more is better)
LIMITS: dict[str, tuple[str, Callable[[Found], float], float, bool]] = {
    "sd: times as fast as the plain loop": ("sd", lambda found: wall(fastest(found)["ratio"]), 4.0, True),
    "sd: share of the bf16 matrix peak": (
        "sd", lambda found: fastest(found)["share_of_peak"]["matmul bfloat16"], 0.4, True),
    "sd: three students, share of three runs": (
        "sd", lambda found: wall(found["three_students"]["share_of_time"]), 0.75, False),
    "sd: making D, times as fast as calling by prompt": (
        "sd", lambda found: wall(found["making_d"]["ratio"]), 2.0, True),
    "sd: data, draws, logging, EMA, share of a step": ("sd", of_step("data", "draws", "logging", "ema"), 0.05, False),
    "sd: encoding, share of a step": ("sd", of_step("encode"), 0.05, False),
    "sdxl: peak of training, GiB": (
        "sdxl", lambda found: found["training"]["ours"]["peak_mib"] / GIB_IN_MIB, 40.0, False),
}  # fmt: skip


def judged(sizes: Mapping[str, Found]) -> dict[str, Any]:
    """Each limit with what was measured; None where its size was not."""
    rows: dict[str, Any] = {}
    for name, (size, look, limit, more) in LIMITS.items():
        try:
            value = look(sizes[size])
        except (KeyError, TypeError):  # the size, or this part of it, was not measured
            value = None
        reached = None if value is None else (value >= limit if more else value <= limit)
        rows[name] = {"measured": value, "wanted": limit, "at_least": more, "reached": reached}
    return rows


def main() -> None:
    """Measures, writes after every size, prints the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument("--seconds", type=float, default=590.0, help="for all sizes together")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="few channels, on any machine")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    end, sizes = time.monotonic() + asked.seconds, {}
    with tempfile.TemporaryDirectory() as folder:
        for k, size in enumerate(asked.sizes):
            part = max(1.0, (end - time.monotonic()) / (len(asked.sizes) - k))
            sizes[size] = measured(size, asked, part, Path(folder))
            text = json.dumps({"command": " ".join(sys.argv), "limits": judged(sizes), "sizes": sizes}, indent=1)
            if asked.out:
                asked.out.write_text(text + "\n", encoding="utf-8")
    for name, row in judged(sizes).items():
        said = {None: "not measured", True: "reached", False: "NOT reached"}[row["reached"]]
        value = "" if row["measured"] is None else f"{row['measured']:.3g}"
        print(f"{name:52} {value:>8}  wanted {'>=' if row['at_least'] else '<='} {row['wanted']:g}  {said}")
    sys.exit(any("not_measured" in one for one in sizes.values()))


if __name__ == "__main__":
    main()
