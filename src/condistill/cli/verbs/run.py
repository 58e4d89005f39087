"""`condistill run`."""

from __future__ import annotations

from condistill.cli.app import START
from condistill.cli.options import AutoBatch, Json, Out, Overrides, RecipeName, with_auto_batch
from condistill.cli.recipe_verbs import carry_out

PANEL, ORDER = START, 2


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    auto_batch: AutoBatch = False,
    as_json: Json = False,
) -> None:
    """Carry out a recipe: cache, students, evaluation, report. Continues by itself.

    Example: condistill run emoji train.steps=200 --out runs/short
    """
    carry_out("run", recipe, with_auto_batch(overrides, auto_batch), out, as_json=as_json)
