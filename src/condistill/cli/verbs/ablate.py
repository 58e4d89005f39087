"""`condistill ablate`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import RECIPES
from condistill.cli.options import AutoBatch, Compile, Json, Overrides, RecipeName, with_flags
from condistill.cli.output import emit, note, nothing_printed
from condistill.cli.stopping import keeping

PANEL, ORDER = RECIPES, 6


def ablate(
    recipe: RecipeName,
    overrides: Overrides = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="KEY=A,B",
            help="Values of one key, by commas or as a YAML list; repeat for more.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Training seeds 0, 1, ...")] = 3,
    out: Annotated[Path | None, typer.Option("--out", help="The grid's folder; runs/NAME-ablation.")] = None,
    auto_batch: AutoBatch = False,
    compile: Compile = False,
    as_json: Json = False,
) -> None:
    """Run a recipe for every combination of values and every seed: a table with intervals over seeds.

    D and the teacher's samples are shared. Started again, it goes on; started several times at once, the processes
    share the cells.

    Example: condistill ablate emoji-grid --over p_random=never,exponential --seeds 3
    """
    from condistill.recipes.dump import opening_comments
    from condistill.recipes.load import default_folder, find

    overrides = with_flags(overrides, auto_batch=auto_batch, compile=compile)
    base = default_folder(recipe)
    folder = out or base.with_name(f"{base.name}-ablation")
    axes = [word for text in over or () for word in ("--over", text)]
    again = ["condistill", "ablate", recipe, *(overrides or ()), *axes, "--seeds", str(seeds), "--out", str(folder)]
    with keeping(f"everything finished is kept in {folder}; to go on: {shlex.join(again)}"), nothing_printed():
        from condistill.evaluate.ablation_table import markdown
        from condistill.recipes.ablation import Grid

        comments = opening_comments(find(recipe).read_text(encoding="utf-8"))
        grid = Grid(
            recipe, over or (), overrides=overrides or (), num_seeds=seeds, out=folder, comments=comments, say=note
        )
        found = grid.all()
    emit({"folder": folder, **found.to_json()}, markdown(found).splitlines(), as_json=as_json)
