"""`condistill run`."""

from __future__ import annotations

from condistill.cli.app import START
from condistill.cli.options import AutoBatch, Compile, Json, Out, Overrides, RecipeName, with_flags
from condistill.cli.recipe_verbs import carry_out

PANEL, ORDER = START, 2


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    auto_batch: AutoBatch = False,
    compile: Compile = False,
    as_json: Json = False,
) -> None:
    """Carry out a recipe: cache, students, evaluation, report. Continues by itself.

    Example: condistill run emoji train.steps=200 --out runs/short
    """
    carry_out("run", recipe, with_flags(overrides, auto_batch=auto_batch, compile=compile), out, as_json=as_json)
