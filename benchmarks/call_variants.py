"""Pipelines as people give them: python benchmarks/call_variants.py [--per N] [--seed S] [--only NAME ...] [--out FILE]

Every tiny pipeline of the catalogue is built `--per` times, each time with another variation of what a user would pass
(`benchmarks/variations.py`; drawn by the seed), and goes from recording to one step of distillation. Each must be ok or
refused with one clear line (`UserError`). Of a refusal it is noted whether the pipeline, called by itself with the same
arguments, runs. Anything else is a crash, or takes more than `--limit` seconds of processor time. Exit code 1 if there
was a crash. Several processes may take a `--part` each; `--read` then makes one report of what they have printed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import io
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.variations import VARIATIONS, Given
from condistill import Teacher, UserError, distill, generate
from condistill.cli.main import _quiet_libraries
from condistill.teacher.keys import key_arguments, parameters_of
from tests.tiny.case import PROMPTS, Case
from tests.tiny.catalogue import catalogue


class TookTooLong(BaseException):
    """A variation that ran for longer than the limit."""


def _late(*_: Any) -> None:
    raise TookTooLong


def varied(case: Case, name: str, seed: int) -> Given | str | None:
    """The case with a variation, the same every time; a text where diffusers refuses it, None where it makes none."""
    given = Given(case.build(), case.component, case.call(), case.keys)
    try:
        return VARIATIONS[name](given, Random(f"{seed}/{case.name}/{name}"))
    except Exception as error:  # whatever diffusers raises where it cannot
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def whole_way(given: Given, case: Case, folder: Path, phases: list[str]) -> None:
    """From the pipeline to one step; `phases` grows, so that its last one is where it broke off."""
    phases.append("record")
    own = None if given.keys is PROMPTS else given.keys
    call = None if given.is_late else dict(given.call) or None
    teacher = Teacher.from_pipeline(given.pipeline, given.component, call=call, keys=None if given.is_late else own)
    phases.append("generate")
    steps = {"num_inference_steps": given.steps} if "num_inference_steps" in parameters_of(given.pipeline) else {}
    call = {**steps, **given.call}
    cache = generate(teacher, list(given.keys[:2]), out=folder / "D", call=call, progress=False)
    phases.append("encode")
    teacher = teacher.with_call(call, given.keys)
    teacher.encode(list(given.keys[:2]))
    phases.append("student")
    student = teacher.student(case.student)
    phases.append("distil")
    distill(
        teacher, student, cache, corpus=list(given.keys), p_random=0.5, steps=1, batch=2, out=folder / "run",
        log_every=1, progress=False,
    )  # fmt: skip


def plain(case: Case, name: str, seed: int) -> str:
    """ "runs", or what the pipeline by itself says to the same arguments."""
    given = varied(case, name, seed)
    assert isinstance(given, Given)
    parameters = parameters_of(given.pipeline)
    steps = {"num_inference_steps": given.steps} if "num_inference_steps" in parameters else {}
    try:
        key = key_arguments(given.pipeline, [given.keys[0]], single=isinstance(given.keys[0], str))
        given.pipeline.set_progress_bar_config(disable=True)
        with torch.no_grad():
            given.pipeline(**{**steps, **given.call, **key})
    except Exception as error:  # whatever it raises
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return "runs"


def tried(case: Case, name: str, seed: int, limit: int) -> dict[str, Any] | None:
    """What became of one variation of one pipeline; None where there is none."""
    begun, phases = time.monotonic(), ["vary"]
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            given = varied(case, name, seed)
            if not isinstance(given, Given):
                return {"outcome": "not made", "said": given} if given else None
            whole_way(given, case, Path(folder), phases)
        found: dict[str, Any] = {"outcome": "ok"}
    except UserError as error:
        found = {"outcome": "refused", "phase": phases[-1], "said": str(error)}
    except TookTooLong:
        found = {"outcome": "slow", "phase": phases[-1], "said": _tail()}
    except Exception as error:  # that it is no UserError is what is looked for
        found = {"outcome": "crashed", "phase": phases[-1], "said": f"{type(error).__name__}: {error} {_tail()}"[:900]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if found["outcome"] == "refused":
        found["by itself"] = plain(case, name, seed)
    return {**found, "seconds": round(time.monotonic() - begun, 1)}


def _tail() -> str:
    """The last frames of the traceback at hand, innermost last."""
    frames = traceback.extract_tb(sys.exc_info()[2])[-5:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))


def rows(cases: list[Case], per: int, seed: int, limit: int, only: list[str]) -> Iterator[dict[str, Any]]:
    """`per` variations of every pipeline, or those named."""
    for case in cases:
        names = sorted(VARIATIONS)
        Random(f"{seed}/{case.name}").shuffle(names)
        left = per
        for name in only or names:
            found = tried(case, name, seed, limit) if left else None
            if found is not None:
                yield {"case": case.name, "variation": name, **found}
                left -= found["outcome"] != "not made"


def grouped(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was said, with names and numbers left out, and to which."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for row in found:
        if row["outcome"] not in ("ok", "not made"):
            said = re.sub(r"\b[A-Z]\w*[a-z]\w*|'[^']*'|[\d.]+", "_", row["said"].split(";")[0])[:160]
            groups[row["outcome"], said].append(row)
    return [
        {"outcome": outcome, "times": len(some), "said": some[0]["said"], "by itself": _by_itself(some),
         "which": [f"{row['case']}: {row['variation']}" for row in some]}
        for (outcome, _), some in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]  # fmt: skip


def _by_itself(some: list[dict[str, Any]]) -> dict[str, int]:
    return dict(collections.Counter("runs" if row.get("by itself") == "runs" else "fails" for row in some))


def main() -> int:
    """1 if something crashed or was slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE")
    parser.add_argument("--variations", nargs="*", default=[], choices=list(VARIATIONS))
    parser.add_argument("--part", default="1/1", help="K/N: every Nth pipeline, from the Kth")
    parser.add_argument("--read", nargs="*", type=Path, default=[], metavar="LOG")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    _quiet_libraries()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, _late)
    k, n = map(int, asked.part.split("/"))
    cases = [case for name, case in catalogue().items() if not asked.only or name in asked.only][k - 1 :: n]
    found = [json.loads(line) for file in asked.read for line in file.read_text().splitlines()]
    for row in [] if asked.read else rows(cases, asked.per, asked.seed, asked.limit, asked.variations):
        found.append(row)
        print(json.dumps(row), flush=True)
    counts = collections.Counter(row["outcome"] for row in found)
    print("all", json.dumps(counts), file=sys.stderr)
    if asked.out:
        about = {"date": f"{datetime.date.today()}", "seed": asked.seed, "per": asked.per}
        asked.out.write_text(json.dumps(about | report(found), indent=1) + "\n")
    return int(counts["crashed"] > 0)


def report(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts by outcome and by variation, what was said, and one line for each pipeline and variation."""
    by_kind: dict[str, Any] = collections.defaultdict(collections.Counter)
    for row in found:
        by_kind[row["variation"]][row["outcome"]] += 1
    return {
        "pipelines": len({row["case"] for row in found}),
        "seconds": round(sum(row.get("seconds", 0.0) for row in found)),
        "outcomes": collections.Counter(row["outcome"] for row in found),
        "variations": dict(sorted(by_kind.items())),
        "said": grouped(found),
        "rows": [_short(row) for row in found],
    }


def _short(row: dict[str, Any]) -> str:
    return ", ".join(str(row.get(name, "")) for name in ("case", "variation", "outcome", "phase", "seconds"))


if __name__ == "__main__":
    sys.exit(main())
