"""`condistill evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import STEPS
from condistill.cli.options import Guidance, Json, Prompts, Steps, call_of
from condistill.cli.output import emit, nothing_printed, table

PANEL, ORDER = STEPS, 4


def evaluate(
    pipelines: Annotated[
        list[str], typer.Argument(metavar="PIPELINE...", help="The teacher first, then its students.")
    ],
    prompts: Prompts,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="An .npz of images (m, h, w, 3) per group, for the Frechet distance."),
    ] = None,
    protocol: Annotated[
        str, typer.Option("--protocol", help="world (the embedded judge) or plain (no judge).")
    ] = "world",
    metrics: Annotated[list[str] | None, typer.Option("--metric", help="A metric; repeat for more.")] = None,
    items: Annotated[
        int | None, typer.Option("--items", min=1, help="Images per group; one per prompt if not given.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the images.")] = 1,
    steps: Steps = None,
    guidance: Guidance = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new folder for results.json and samples.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a teacher and its students on the same prompts and seeds.

    Example: condistill evaluate emoji runs/demo/student --prompts prompts.txt --steps 15
    """
    call = call_of(steps, guidance)
    with nothing_printed():
        from condistill.recipes.measuring import measure

        results = measure(
            pipelines, prompts, reference=reference, protocol=protocol, metrics=metrics, seed=seed, call=call,
            num_items=items, out=out,
        )  # fmt: skip
    emit(results.to_json(), table(results.table()), as_json=as_json)
