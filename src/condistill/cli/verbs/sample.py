"""`condistill sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import STEPS
from condistill.cli.options import Guidance, Json, Prompts, Steps, call_of
from condistill.cli.output import emit, nothing_printed
from condistill.cli.stopping import keeping

PANEL, ORDER = STEPS, 3


def sample(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="A pipeline folder, emoji, or a hub id.")],
    prompts: Prompts,
    out: Annotated[Path, typer.Option("--out", help="A new folder for the files (png, wav or webp).")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all samples.")] = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    as_json: Json = False,
) -> None:
    """Draw one picture, sound or video per prompt with a teacher or a student.

    Example: condistill sample runs/demo/student --prompts prompts.txt --out pictures --steps 15
    """
    call = call_of(steps, guidance)
    with keeping(f"the samples so far are kept in {out}; the same command goes on"), nothing_printed():
        from condistill.files import read_json
        from condistill.recipes.pictures import INDEX, sample_folder

        folder = sample_folder(pipeline, prompts, out=out, seed=seed, call=call)
        num_images = len(read_json(folder / INDEX)["images"])
    emit(
        {"folder": folder, "images": num_images, "index": folder / INDEX},
        [f"{folder}: {num_images} samples"],
        as_json=as_json,
    )
