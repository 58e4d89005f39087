"""Pipelines of drawn configs, as a stranger builds them: python benchmarks/config_variants.py [--seed S] [--out FILE]

Each is recorded, its keys encoded and swapped, D made, the identity and students of several specs made and run, one of
them distilled for two steps, saved, loaded by diffusers and sampled. A pipeline that diffusers itself does not run is
drawn again. Exit code 1 if anything crashed; what was refused is listed with its message.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from strangers import folders, mutated, samplers, steered, unets
from strangers.checks import tried
from strangers.variant import Found, Variant

from condistill.versions import versions
from tests.tiny.pipelines import sd

MAX_DRAWS = 8


def names(group: str, count: int) -> list[str]:
    """group/kind/number of a group's pipelines; `count` for each kind in it, ten times as many plain ones."""
    if group == "folders":
        return [f"folders/{kind}/0" for kind in folders.CHANGES]
    if group == "steered":
        kinds = [*steered.XL, *steered.ONE]
    else:
        kinds = list({"unets": unets.SD, "samplers": samplers.classes(), "mutated": mutated.families()}[group])
    shares = {"StableDiffusionPipeline": 10 * count} if group == "unets" else {}
    return [f"{group}/{kind}/{k}" for kind in kinds for k in range(shares.get(kind, count))]


def drawn_as(name: str, rng: Random) -> Variant:
    """The pipeline of that name, drawn."""
    group, kind, _ = name.split("/")
    if group == "steered":
        return (steered.xl if kind in steered.XL else steered.one)(rng, name, kind)
    return {"unets": unets.sd, "samplers": unets.sampled, "mutated": mutated.mutated}[group](rng, name, kind)


def row_of(name: str, seed: int, until: float) -> list[dict[str, Any]]:
    """What became of the pipeline or folder of that name; nothing where it is too late to begin."""
    begun = time.monotonic()
    if begun > until:
        return []
    drawn: dict[str, Any] = {}
    if name.startswith("folders"):
        with tempfile.TemporaryDirectory() as place:
            sd().save_pretrained(Path(place, "good"))
            found = folders.tried_folder(name.split("/")[1], Path(place, "good"), Path(place))
            found.said = found.said.replace(place, "")
    else:
        drawn, found = found_of(name, seed)
    return [row(name, drawn, found, time.monotonic() - begun)]


GROUPS = {"folders": 1, "unets": 4, "samplers": 2, "steered": 2, "mutated": 1}


def found_of(name: str, seed: int) -> tuple[dict[str, Any], Found]:
    """What was drawn and what became of it; drawn again while diffusers does not run it."""
    drawn: dict[str, Any] = {}
    found = Found("unbuilt", "draw")
    for number in range(MAX_DRAWS):
        rng = Random(f"{seed}/{name}/{number}")
        try:
            variant = drawn_as(name, rng)
        except Exception as error:
            found = Found("unbuilt", "draw", f"{type(error).__name__}: {error}"[:300])
            continue
        drawn = {**variant.drawn, "draw": number}
        with tempfile.TemporaryDirectory() as folder:
            found = tried(variant, Path(folder), rng)
        if found.outcome != "unbuilt":
            break
    return drawn, found


def main() -> int:
    """1 if anything crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--group", nargs="*", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--count", type=int, help="how many of each kind, instead of each group's own number")
    parser.add_argument("--only", default="", help="names that hold this text")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="what is not begun by then is left out")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    jobs = [one for group in asked.group for one in names(group, asked.count or GROUPS[group]) if asked.only in one]
    Random(asked.seed).shuffle(jobs)
    rows, start = [], time.monotonic()
    with ProcessPoolExecutor(asked.workers, initializer=quiet) as pool:
        waiting = {pool.submit(row_of, name, asked.seed, start + 60 * asked.minutes) for name in jobs}
        for done in as_completed(waiting):
            rows += done.result()
            if done.result():
                print(json.dumps(rows[-1], default=str), flush=True)
    rows.sort(key=lambda one: one["name"])
    whole = {**collections.Counter(r["outcome"] for r in rows)}
    students = collections.Counter(s.split(":")[0] for r in rows for s in r["students"].values())
    summary = {
        "drawn": len(rows),
        "left_out": len(jobs) - len(rows),
        **whole,
        "students": dict(students),
        "seconds": round(time.monotonic() - start),
    }
    print("all", json.dumps(summary))
    if asked.out:
        about = {"command": "python " + " ".join(sys.argv), "date": f"{datetime.date.today()}", "versions": versions()}
        write(asked.out, {**about, "seed": asked.seed, "all": summary}, rows)
    return int("crashed" in whole)


def row(name: str, drawn: dict[str, Any], found: Found, seconds: float) -> dict[str, Any]:
    """What is written of one pipeline: of one that is well, its name alone and what was said of its students."""
    students = found.students
    kept: dict[str, Any] = {"name": name, "outcome": found.outcome, "seconds": round(seconds, 1), "students": students}
    if found.outcome != "ok":
        kept |= {"stage": found.stage, "said": found.said}
    return {**kept, "drawn": drawn}


def write(path: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """One line a pipeline."""
    lines = ",\n".join("  " + json.dumps(one, default=str) for one in rows)
    path.write_text(json.dumps(about, indent=1)[:-2] + ',\n "rows": [\n' + lines + "\n ]\n}\n", encoding="utf-8")


def quiet() -> None:
    """Nothing from the libraries but their errors; one thread."""
    import diffusers
    import transformers

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity(50)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity(50)
    transformers.utils.logging.disable_progress_bar()


if __name__ == "__main__":
    sys.exit(main())
