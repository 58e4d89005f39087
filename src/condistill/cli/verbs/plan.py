"""`condistill plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from condistill.cli.app import RECIPES
from condistill.cli.options import Json, Out, Overrides, RecipeName
from condistill.cli.output import emit, nothing_printed

PANEL, ORDER = RECIPES, 3


def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", help="Count for this GPU (a100-80gb, h100, rtx4090, ...) instead of measuring here."),
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="How many of them share the work.")] = 1,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Say what a recipe will take before it is run: time, memory, disk, the micro-batch that fits, what to change.

    A teacher that is here is measured for a few passes; otherwise its config alone is counted, on a GPU by its data
    sheet: a hub id, a pipeline's folder without weights, or the denoiser's folder or config.json.

    Example: condistill plan emoji
    """
    with nothing_printed():
        from condistill.recipes.load import default_folder, find, is_shipped, load_recipe

        loaded = load_recipe(recipe, overrides or ())

        from condistill.recipes.check import check
        from condistill.recipes.plan import plan_recipe

        check(loaded, allow_missing_files=is_shipped(recipe), allow_component=True)
        folder, title = out or default_folder(recipe), find(recipe).stem
        found = plan_recipe(loaded, title=title, out=folder, gpu_name=gpu, num_devices=gpus)
    emit(found.as_dict(), found.lines(), as_json=as_json)
