"""`condistill ls`."""

from __future__ import annotations

from condistill.cli.app import RECIPES
from condistill.cli.options import Json
from condistill.cli.output import emit, table

PANEL, ORDER = RECIPES, 1


def ls(as_json: Json = False) -> None:
    """List the shipped recipes.

    Example: condistill ls
    """
    from condistill.recipes.load import shipped
    from condistill.recipes.shipping import summary

    found = {name: {"file": path, "summary": summary(path)} for name, path in shipped().items()}
    rows = [["recipe", "what it does"], *([name, str(about["summary"])] for name, about in found.items())]
    emit({"recipes": found}, table(rows, right=False), as_json=as_json)
