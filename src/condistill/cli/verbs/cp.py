"""`condistill cp`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import RECIPES
from condistill.cli.options import Json
from condistill.cli.output import emit

PANEL, ORDER = RECIPES, 2


def cp(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe; see condistill ls.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to copy it; must not exist yet.")],
    as_json: Json = False,
) -> None:
    """Copy a shipped recipe to a file of your own.

    Example: condistill cp emoji mine.yaml
    """
    from condistill.recipes.shipping import copy_shipped

    written = copy_shipped(name, file)
    emit({"recipe": name, "file": written}, [f"{written}: a copy of {name}; change it and run it"], as_json=as_json)
