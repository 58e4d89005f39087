"""`condistill run`."""

from __future__ import annotations

from condistill.cli.app import START
from condistill.cli.options import Json, Out, Overrides, RecipeName
from condistill.cli.recipe_verbs import carry_out

PANEL, ORDER = START, 2


def run(recipe: RecipeName, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Carry out a recipe: cache, students, evaluation, report. Continues by itself.

    Example: condistill run emoji train.steps=200 --out runs/short
    """
    carry_out("run", recipe, overrides, out, as_json=as_json)
