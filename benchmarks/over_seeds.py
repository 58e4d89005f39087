"""A recipe over several seeds, as one table: python benchmarks/over_seeds.py RECIPE --seeds 3 --out DIR [key=value ...]

Every seed is a whole run (student weights, draws and order of samples differ; D is shared, prompts and seeds of the
evaluation are the same). The table gives the mean over seeds with its 95 % interval by Student's t: that is the
uncertainty of training again, which the intervals inside one run do not cover. Continues where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
from pathlib import Path
from typing import Any

from scipy import stats

from condistill.files import write_atomic, write_json
from condistill.recipes import load_recipe
from condistill.recipes.run import run

METRICS = ("concept_accuracy", "colour_accuracy", "frechet_distance", "kd_gap")
GROUPS = ("unseen", "seen")


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean, low and high of the 95 % t interval over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def gathered(results: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Model -> group -> metric -> mean, low, high and the single values."""
    found: dict[str, Any] = {}
    for place, model in enumerate(results[0]["models"]):
        for group in GROUPS:
            for metric in METRICS:
                values = [one["models"][place]["groups"][group][metric]["value"] for one in results]
                mean, low, high = interval(values)
                row = {"mean": mean, "low": low, "high": high, "values": values}
                found.setdefault(model["name"], {}).setdefault(group, {})[metric] = row
    return found


def table(found: dict[str, Any]) -> str:
    """The table in Markdown."""
    lines = ["| model | group | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 2) + "|"]
    for model, groups in found.items():
        for group, metrics in groups.items():
            cells = [_cell(metrics[metric]) for metric in METRICS]
            lines.append(f"| {model} | {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, float]) -> str:
    if math.isnan(row["low"]) or row["low"] == row["high"]:
        return f"{row['mean']:.3g}"
    return f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", help="key=value for every run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    results = []
    for seed in range(chosen.seeds):
        own = [f"train.seed={seed}", f"student.seed={seed}", f"data.cache={(chosen.out / 'D').resolve()}"]
        recipe = load_recipe(chosen.recipe, [*chosen.overrides, *own])
        done = run(recipe, chosen.out / f"seed-{seed}", say=print)
        results.append(json.loads((done.folder / "results.json").read_text()))
    found = gathered(results)
    record = {"recipe": chosen.recipe, "overrides": chosen.overrides, "seeds": chosen.seeds, "cores": os.cpu_count()}
    write_json(chosen.out / "over_seeds.json", {**record, "protocol": results[0]["protocol"], "models": found})
    write_atomic(chosen.out / "over_seeds.md", table(found))
    print(table(found))


if __name__ == "__main__":
    main()
