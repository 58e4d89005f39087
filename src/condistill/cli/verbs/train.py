"""`condistill train`."""

from __future__ import annotations

from condistill.cli.app import RECIPES
from condistill.cli.options import AutoBatch, Compile, Json, Out, Overrides, RecipeName, with_flags
from condistill.cli.output import emit
from condistill.cli.recipe_verbs import opened

PANEL, ORDER = RECIPES, 5


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    auto_batch: AutoBatch = False,
    compile: Compile = False,
    as_json: Json = False,
) -> None:
    """Train the recipe's students, making D first where it is missing. Continues by itself.

    To watch it: train.trackers=wandb (tensorboard, trackio, mlflow, none), train.validate_every=500.

    Example: condistill train emoji train.steps=100 --out runs/short
    """
    with opened("train", recipe, with_flags(overrides, auto_batch=auto_batch, compile=compile), out) as one:
        students = one.train()
    emit(
        {"folder": one.out, "students": students},
        [f"student  {folder}" for folder in students.values()],
        as_json=as_json,
    )
