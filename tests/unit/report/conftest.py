"""A synthetic run folder in the layout of a finished run: two arms, their logs, results and pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

GROUPS = {"seen": 112, "unseen": 80}
CONCEPT = {"teacher": (1.0, 0.99), "without": (0.98, 0.02), "with": (0.97, 0.95)}
METRICS = {
    "concept_accuracy": {"label": "Right concept", "unit": "share", "higher_is_better": True, "description": "share"},
    "frechet_distance": {"label": "Distance", "unit": "", "higher_is_better": False, "description": "distance"},
    "kd_gap": {"label": "KD gap", "unit": "squared error", "higher_is_better": False, "description": "gap"},
}
RECIPE = "# lr: the best of three tried <on> one seed\nname: with\nteacher: emoji\ncompare:\n  without: {p_random: 0}\n"
BINS = [(k / 10, (k + 1) / 10) for k in range(10)]


def score(value: float, n: int, width: float = 0.05) -> dict:
    return {"value": value, "low": value - width * value, "high": value + width * value, "n": n}


def group_scores(model: str, group: str) -> dict:
    gap = {"teacher": 0.0, "without": 0.7, "with": 0.2}[model] * (1.0 if group == "unseen" else 0.3)
    levels = [{"u": k / 10 + 0.05, **score(gap * (1 + 0.3 * math.sin(k)), 1, 0.1)} for k in range(10)]
    n = GROUPS.get(group, sum(GROUPS.values()))
    return {
        "concept_accuracy": score(CONCEPT[model][group == "unseen"], n),
        "frechet_distance": score(90 + 100 * gap, n),
        "kd_gap": {**score(gap, n), "by_time": levels},
    }


def make_results() -> dict:
    models = [
        {
            "name": name,
            "groups": {group: group_scores(name, group) for group in (*GROUPS, "all")},
            "parameters": 8_700_000 if name == "teacher" else 5_900_000,
            "macs": {"conv_linear": 450_000_000, "total": 520_000_000},
            "latency_seconds": 0.31 if name == "teacher" else 0.22,
        }
        for name in CONCEPT
    ]
    difference = {"value": 0.93, "low": 0.86, "high": 0.98, "n": 80}
    return {
        "schema": 1,
        "protocol": {
            "name": "world",
            "seeds": [1],
            "call": {"num_inference_steps": 15},
            "n": GROUPS,
            "metrics": METRICS,
        },
        "models": models,
        "comparisons": [
            {"model": "with", "baseline": "without", "groups": {"unseen": {"concept_accuracy": difference}}}
        ],
    }


def write_log(path: Path, p_random: dict, seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = [{"event": "start", "step": 0, "seed": 0, "steps": 700, "batch": 64, "p_random": p_random}]
    for step in range(10, 701, 10):
        out = 0.8 * math.exp(-step / 250) + 0.05 + 0.03 * draw.random()
        swapped = [
            int(draw.binomial(64, 0.0 if "p" in p_random else 1 / (1 + math.exp(-20 * (a - 0.65))))) for a, _ in BINS
        ]
        rows.append(
            {
                "event": "step",
                "step": step,
                "loss": 60 * out,
                "terms": {"out": out, "feat": 59 * out},
                "taps": {},
                "by_time": [{"low": a, "high": b, "out": out * (1.4 - a), "feat": 50 * out, "n": 64} for a, b in BINS],
                "swap_rate": sum(swapped) / 640,
                "swap_rate_by_time": [
                    {"low": a, "high": b, "p": a, "swapped": k, "n": 64}
                    for (a, b), k in zip(BINS, swapped, strict=True)
                ],
                "samples_per_second": 80.0,
                "seconds": step * 0.5,
            }
        )
    rows.append({"event": "end", "step": 700, "seconds": 350.0})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_samples(folder: Path, prompts: dict[str, list[str]]) -> None:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    models: dict = {}
    for model in CONCEPT:
        for group, keys in prompts.items():
            names = [f"{model}-{group}-{k:03d}.png" for k in range(len(keys))]
            models.setdefault(model, {})[group] = names
            for name in names:
                Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((64, 64)).save(folder / name)
    (folder / "index.json").write_text(json.dumps({"groups": prompts, "models": models}))


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "out")


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "results.json").write_text(json.dumps(make_results()))
    write_log(folder / "log.jsonl", {"name": "sigmoid", "k": 20.0, "centre": 0.7}, seed=0)
    write_log(folder / "compare" / "without" / "log.jsonl", {"name": "constant", "p": 0.0}, seed=1)
    prompts = {
        "seen": ["a drum on a red background", "<script>alert('prompt')</script>"],
        "unseen": ["a panda on a green background", "an owl on a pink background"],
    }
    write_samples(folder / "samples", prompts)
    return folder
