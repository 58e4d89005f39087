"""What many GPUs and a large C need, by arithmetic and a small simulation: python benchmarks/scale.py [--gpus 1000]

The figures are those of docs/scale.md. Nothing here was measured on such a machine: rates are arguments, with defaults
that the page names; the slowest of the processes in a step is simulated with seeded draws.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np

GB = 1e9


def needs(asked: argparse.Namespace) -> dict[str, Any]:
    """Bandwidth, storage and time, in GB and seconds."""
    weights = asked.parameters * 4
    item = asked.latent_values * 2
    step_seconds = asked.batch_per_gpu / asked.images_per_second
    # ring all-reduce: every GPU sends and receives 2 (n - 1) / n of the gradients
    reduced = 2 * (asked.gpus - 1) / asked.gpus * weights
    checkpoint = 4 * weights  # weights, EMA, two moments
    slow = np.random.default_rng(0).lognormal(0.0, asked.jitter, (2000, asked.gpus)).max(axis=1).mean()
    lost = checkpoint / (asked.disk_gb_per_second * GB)
    between = math.sqrt(2 * lost * asked.hours_between_failures * 3600)  # Young's rule
    return {
        "D_gb": asked.items * item / GB,
        "D_read_gb_per_second": asked.gpus * asked.images_per_second * item / GB,
        "C_gb": asked.rows * asked.characters / GB,
        "C_read_mb_per_second": asked.gpus * asked.images_per_second * asked.characters / 1e6,
        "keys_per_step": asked.gpus * asked.batch_per_gpu,
        "step_seconds": step_seconds,
        "all_reduce_gb_per_gpu_and_step": reduced / GB,
        "all_reduce_seconds": reduced / (asked.network_gb_per_second * GB),
        "slowest_of_all_over_typical": float(slow),
        "checkpoint_gb": checkpoint / GB,
        "checkpoint_seconds": lost,
        "seconds_between_checkpoints": between,
        "share_lost_to_checkpoints_and_failures": lost / between + between / (2 * asked.hours_between_failures * 3600),
    }


def main() -> None:
    """Prints what was assumed and what follows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {
        "gpus": 1000, "rows": 4e8, "characters": 60, "items": 1e6, "latent_values": 16384, "parameters": 5.8e8,
        "batch_per_gpu": 8, "images_per_second": 20.0, "network_gb_per_second": 25.0, "disk_gb_per_second": 2.0,
        "jitter": 0.05, "hours_between_failures": 4.0,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    asked = parser.parse_args()
    print(json.dumps({"assumed": vars(asked), "needed": needs(asked)}, indent=1))


if __name__ == "__main__":
    main()
