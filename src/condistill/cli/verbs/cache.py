"""`condistill cache`."""

from __future__ import annotations

from typing import Annotated

import typer

from condistill.cli.app import RECIPES
from condistill.cli.options import Json, Out, Overrides, RecipeName
from condistill.cli.output import emit
from condistill.cli.recipe_verbs import opened

PANEL, ORDER = RECIPES, 4


def cache(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    repair: Annotated[bool, typer.Option("--repair", help="Check every shard; make damaged ones again.")] = False,
    as_json: Json = False,
) -> None:
    """Make D: the teacher's latents for the recipe's prompts. Makes only what is missing.

    Example: condistill cache emoji data.num_items=64 --out runs/small
    """
    with opened("cache", recipe, overrides, out) as one:
        made = one.cache(repair=repair)
        folder = one.cache_folder
    emit({"folder": folder, "items": len(made)}, [f"{folder}: {len(made)} items"], as_json=as_json)
