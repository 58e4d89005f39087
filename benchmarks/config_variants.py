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
from collections.abc import Callable, Iterator
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

Draw = Callable[[Random, str], Variant]
MAX_DRAWS = 12


def draws(group: str, count: int) -> Iterator[tuple[str, Draw]]:
    """(name, how it is drawn) of a group's pipelines; `count` for each kind in it."""
    if group == "unets":
        kinds = list(unets.SD)
        shares = {"StableDiffusionPipeline": 10 * count}
        for kind in kinds:
            for k in range(shares.get(kind, count)):
                yield f"unets/{kind}/{k}", lambda rng, name, kind=kind: unets.sd(rng, name, kind)
    elif group == "samplers":
        for kind in samplers.classes():
            for k in range(count):
                yield f"samplers/{kind}/{k}", lambda rng, name, kind=kind: unets.sampled(rng, name, kind)
    elif group == "steered":
        for kind in steered.XL:
            for k in range(count):
                yield f"steered/{kind}/{k}", lambda rng, name, kind=kind: steered.xl(rng, name, kind)
        for kind in steered.ONE:
            for k in range(count):
                yield f"steered/{kind}/{k}", lambda rng, name, kind=kind: steered.one(rng, name, kind)
    elif group == "mutated":
        for family in mutated.families():
            for k in range(count):
                yield f"mutated/{family}/{k}", lambda rng, name, family=family: mutated.mutated(rng, name, family)


def folder_rows() -> Iterator[dict[str, Any]]:
    """What became of each odd folder."""
    with tempfile.TemporaryDirectory() as good:
        sd().save_pretrained(good)
        for name in folders.CHANGES:
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as place:
                found = folders.tried_folder(name, Path(good), Path(place))
                found.said = found.said.replace(place, "")
            yield row(f"folders/{name}", {}, found, time.monotonic() - begun)


GROUPS = {"folders": 1, "unets": 4, "samplers": 2, "steered": 2, "mutated": 1}


def found_of(name: str, draw: Draw, seed: int) -> tuple[dict[str, Any], Found]:
    """What was drawn and what became of it; drawn again while diffusers does not run it."""
    drawn: dict[str, Any] = {}
    found = Found("unbuilt", "draw")
    for number in range(MAX_DRAWS):
        rng = Random(f"{seed}/{name}/{number}")
        try:
            variant = draw(rng, name)
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
    parser.add_argument("--part", default="0/1", help="K/N: every Nth, from the Kth")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    quiet()
    torch.set_num_threads(1)
    names = [one for group in asked.group for one in draws(group, asked.count or GROUPS[group]) if asked.only in one[0]]
    Random(asked.seed).shuffle(names)
    part, parts = map(int, asked.part.split("/"))
    rows, start = [], time.monotonic()
    for one in folder_rows() if "folders" in asked.group and part == 0 else ():
        rows.append(one)
        print(json.dumps(one), flush=True)
    for name, draw in names[part::parts]:
        begun = time.monotonic()
        drawn, found = found_of(name, draw, asked.seed)
        rows.append(row(name, drawn, found, time.monotonic() - begun))
        print(json.dumps(rows[-1], default=str), flush=True)
    whole = {**collections.Counter(r["outcome"] for r in rows)}
    students = collections.Counter(s.split(":")[0] for r in rows for s in r["students"].values())
    summary = {"pipelines": len(rows), **whole, "students": dict(students), "seconds": round(time.monotonic() - start)}
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
    """Nothing from the libraries but their errors."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity(50)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity(50)
    transformers.utils.logging.disable_progress_bar()


if __name__ == "__main__":
    sys.exit(main())
