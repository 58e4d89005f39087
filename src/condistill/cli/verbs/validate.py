"""`condistill validate`."""

from __future__ import annotations

from typing import Annotated

import typer

from condistill.cli.app import RECIPES
from condistill.cli.options import Json
from condistill.cli.output import emit

PANEL, ORDER = RECIPES, 3


def validate(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help="YAML files or names of shipped recipes.")],
    as_json: Json = False,
) -> None:
    """Check recipes without loading a weight: keys, names, limits and files.

    Example: condistill validate emoji mine.yaml
    """
    from condistill.recipes.check import check
    from condistill.recipes.load import is_shipped, load_recipe

    needs = {name: check(load_recipe(name), allow_missing_files=is_shipped(name)) for name in recipes}
    lines = [f"{name}: ok" + (f"; put beside it: {', '.join(files)}" if files else "") for name, files in needs.items()]
    emit({"valid": {name: {"missing_files": files} for name, files in needs.items()}}, lines, as_json=as_json)
