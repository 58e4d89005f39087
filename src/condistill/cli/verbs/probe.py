"""`condistill probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import STEPS
from condistill.cli.options import Guidance, Json, Steps, call_of
from condistill.cli.output import emit, nothing_printed, table

PANEL, ORDER = STEPS, 5


def probe(
    teacher: Annotated[str, typer.Argument(metavar="TEACHER", help="A pipeline folder, emoji, or a hub id.")],
    names: Annotated[
        list[str] | None,
        typer.Option("--probe", help="condition_sensitivity, swap_at or merging; repeat for more, all if not given."),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option("--prompts", help="Prompts to choose from, a file or URL; the world's own for emoji.")
    ] = None,
    keys: Annotated[int, typer.Option("--keys", min=2, help="Different prompts.")] = 12,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Samples of each prompt.")] = 4,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the choice of prompts and of all draws.")] = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    out: Annotated[Path | None, typer.Option("--out", help="A folder for probe.json and pictures, by probe.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a teacher how much its condition decides at each noise level, and when.

    Example: condistill probe emoji --steps 12 --guidance 2 --out runs/probe
    """
    with nothing_printed():
        from condistill.probes import ask, probe_names
        from condistill.recipes.measuring import prompts_of
        from condistill.teacher import Teacher

        chosen = prompts_of(teacher, prompts)
        call = call_of(steps, guidance)
        found = ask(
            Teacher.load(teacher, call=call), chosen, probes=names or probe_names(), num_keys=keys, num_samples=samples,
            seed=seed, call=call, out=out,
        )  # fmt: skip
    lines = [line for name, one in found.items() for line in (name, *table(one.table), "")]
    lines += [f"written  {out}"] if out is not None else []
    emit({"folder": out, "found": {name: dict(one.values) for name, one in found.items()}}, lines, as_json=as_json)
