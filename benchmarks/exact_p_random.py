"""p(t) on the exact world: the distance between the samples of teacher and student, for every schedule, over seeds.

    python benchmarks/exact_p_random.py --seeds 5 --out benchmarks/results/exact-p-random.json

Concepts are Gaussians on a circle of radius 2 whose score is known in closed form; half of them are held out. The exact
world shows the mechanism: it has two dimensions and a student of a few thousand weights, so an order of p(t) found here
is no order for images.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from pathlib import Path

import torch

from condistill import Teacher, distill, generate
from condistill.evaluate.ablation import over_seeds
from condistill.evaluate.ablation_table import format_spread
from condistill.versions import versions
from condistill.world import exact

SCHEDULES = ("never", "exponential", "sigmoid", "linear", "two-sided", "quadratic", "0.3", "always", "auto", "auto:2")
STEPS, BATCH, LR = 1500, 128, 1e-2


def distilled(schedule: str, seed: int, num_concepts: int) -> dict[str, float]:
    """The errors of one student."""
    teacher = Teacher.from_pipeline(exact.pipeline_of(num_concepts, seed=seed))
    keys = exact.prompts("seen", num_concepts=num_concepts)
    with tempfile.TemporaryDirectory() as folder:
        cache = generate(
            teacher, keys, out=Path(folder) / "D", num_items=64 * len(keys), seed=seed, batch=256, progress=False
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            student = teacher.with_network(exact.ExactStudent())
        distill(
            teacher, student, cache, corpus=exact.prompts("all", num_concepts=num_concepts), p_random=schedule,
            steps=STEPS, batch=BATCH, lr=LR, lr_schedule="cosine", loss={"feature": 0.0}, seed=seed,
            out=Path(folder) / "run", log_every=STEPS, checkpoint_every=STEPS, progress=False,
        )  # fmt: skip
        return exact.distances(teacher, student, num_concepts=num_concepts, each=64)


def main() -> None:
    """Prints a table as it grows, and writes all numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--concepts", type=int, default=6)
    parser.add_argument("--schedules", nargs="+", default=SCHEDULES)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print("| p_random | unseen | seen |\n|---|---|---|")
    for schedule in asked.schedules:
        runs = [distilled(schedule, seed, asked.concepts) for seed in range(asked.seeds)]
        spreads = {group: over_seeds([run[group] for run in runs], least=0.0) for group in ("unseen", "seen")}
        rows.append({"p_random": schedule, **{group: spread.to_json() for group, spread in spreads.items()}})
        print(f"| {schedule} | {format_spread(spreads['unseen'])} | {format_spread(spreads['seen'])} |", flush=True)
    about = {"steps": STEPS, "batch": BATCH, "lr": LR, "concepts": asked.concepts, "seeds": asked.seeds}
    if asked.out:
        record = {**about, "machine": platform.machine(), "versions": versions(), "rows": rows}
        asked.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
