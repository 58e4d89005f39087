"""`condistill validate`."""

from __future__ import annotations

from typing import Annotated

import typer

from condistill.cli.app import RECIPES
from condistill.cli.options import Json
from condistill.cli.output import emit
from condistill.errors import UserError

PANEL, ORDER = RECIPES, 3


def validate(
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE... [KEY=VALUE ...]", help="YAML files or names of shipped recipes; overrides."),
    ],
    as_json: Json = False,
) -> None:
    """Check recipes without loading a weight: keys, names, limits and files. Overrides are checked with each of them.

    Example: condistill validate emoji mine.yaml train.steps=100
    """
    from pathlib import Path

    from condistill.recipes.check import check
    from condistill.recipes.load import is_shipped, load_recipe

    overrides = [word for word in recipes if "=" in word and not Path(word).expanduser().exists()]
    named = [word for word in recipes if word not in overrides]
    if not named:
        raise UserError(f"{overrides[0]!r} is an override; name the recipe before it")
    needs = {name: check(load_recipe(name, overrides), allow_missing_files=is_shipped(name)) for name in named}
    lines = [f"{name}: ok" + (f"; put beside it: {', '.join(files)}" if files else "") for name, files in needs.items()]
    emit({"valid": {name: {"missing_files": files} for name, files in needs.items()}}, lines, as_json=as_json)
