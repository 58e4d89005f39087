"""docs/teachers.md, made from the battery: python -m tests.contract.page

One line a pipeline of the catalogue: what was found by recording it, or why it is refused. The battery compares each
line with what it records, so the page cannot fall behind.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

from condistill import Teacher
from tests.contract import battery
from tests.contract.expected import NOT_CUT, NOT_LOADED, REFUSED, WITHOUT
from tests.tiny.case import Case
from tests.tiny.catalogue import catalogue

PAGE = Path(__file__).parents[2] / "docs" / "teachers.md"

HEAD = """# Teachers

Made by `python -m tests.contract.page` from the contract battery; do not edit. Every pipeline below is built from a
tiny config with random weights and goes the whole way in `tests/contract/test_any_pipeline.py`: it is recorded, its
keys are encoded and swapped, D is made, the student that is the teacher has losses of exactly 0, a smaller student is
distilled for two steps, saved, loaded in a process without condistill and sampled there (but for those that diffusers
does not load, see below). No list of families is used:
a pipeline that is not below is recorded by the same rules.

How to read a line: the **key** arguments of the denoiser are exchanged by random conditioning; the **bound** ones
belong to an item (masks, pictures given beside it, size ids) and stay; `+` is what stands beside x_t in its own
argument (more channels or more tokens). A name before a colon is a network upstream of the denoiser, which runs anew
for every x_t.

"""

NOTES = """
Notes: *padded*: keys of different length are padded, and the denoiser was seen to answer the same. *beside a long
key*: every key is encoded together with a long one, so that all have one length. *by length*: only keys of one length
are given to the denoiser together. *one at a time*: the pipeline takes, or gets right, one key per call. *own size
only*: no smaller student fits what its pipeline feeds it (see below).

"""


def line(case: Case, teacher: Teacher) -> str:
    """What recording the case has found, as a row of the page's table."""
    found, pipeline = teacher.calibration, type(teacher.pipeline).__name__.removesuffix("Pipeline")
    notes = []
    if found.ragged:
        notes.append("by length" if found.by_length else "padded")
    if found.companion is not None:
        notes.append("beside a long key")
    if found.runner.single:
        notes.append("one at a time")
    if found.time_range is not None:
        notes.append("takes turns with another denoiser")
    if case.name in NOT_CUT:
        notes.append("own size only")
    bound = [name for name in (*found.bound, *found.repeated) if name not in found.key_paths]
    cells = [
        case.name, f"{pipeline} (`{teacher.component}`)", type(teacher.network).__name__,
        teacher.noise_path.describe()["kind"], _code(found.key_paths), _code(bound), ", ".join(notes),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page(lines: dict[str, str], families: dict[str, str]) -> str:
    """The whole page, from one line a case."""
    parts = [
        HEAD,
        f"{len(lines)} pipelines go the whole way, {len(REFUSED)} are refused.\n",
    ]
    for family in sorted(set(families.values())):
        rows = [lines[name] for name in sorted(lines) if families[name] == family]
        if rows:
            parts += [f"\n## {family[:1].upper()}{family[1:]}\n\n", _table(), "\n".join(rows), "\n"]
    parts.append(NOTES)
    for title, reasons in _REASONS.items():
        rows = "\n".join(f"| {name} | {' '.join(reason.split())} |" for name, reason in sorted(reasons.items()))
        parts.append(f"## {title}\n\n| {_FIRST.get(title, 'case')} | the message says, or why |\n|---|---|\n{rows}\n\n")
    return "".join(parts).rstrip() + "\n"


_FIRST = {"Without a case": "pipeline"}
_REASONS = {
    "Refused, by name": REFUSED,
    "Students of the teacher's own size only": NOT_CUT,
    "Saved, but not loaded again by diffusers itself": NOT_LOADED,
    "Without a case": WITHOUT,
}


def _table() -> str:
    names = ("case", "pipeline", "denoiser", "noise", "key", "bound", "notes")
    return "| " + " | ".join(names) + " |\n|" + "---|" * len(names) + "\n"


def main() -> None:
    """Records every case and writes the page."""
    warnings.simplefilter("ignore")
    cases = {name: case for name, case in catalogue().items() if name not in REFUSED}
    lines = {}
    for number, (name, case) in enumerate(cases.items(), 1):
        lines[name] = line(case, battery.recorded(case))
        print(f"{number} of {len(cases)}: {name}", file=sys.stderr)
    PAGE.write_text(page(lines, {name: case.family for name, case in cases.items()}), encoding="utf-8")


if __name__ == "__main__":
    main()
