"""The arms of a recipe: the run itself and what it is compared with, each a recipe of its own."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condistill.errors import unknown_name
from condistill.recipes.load import merged
from condistill.recipes.schema import Recipe, checked


@dataclass(frozen=True)
class Arm:
    """One student to train.

    Attributes:
        name: as in results and report.
        folder: its run folder, relative to the run's: "." for the run itself.
        recipe: what it is trained by, without further comparisons.
    """

    name: str
    folder: Path
    recipe: Recipe


def own_calls(recipe: Recipe, arguments: Container[str] = ()) -> dict[str, dict[str, Any]]:
    """Arm -> what its student is sampled with beside the teacher's call: one that learned guidance does without it.

    Args:
        recipe: of the run.
        arguments: those that the pipeline takes.

    Raises:
        UserError: `evaluate.calls` names no arm.
    """
    every = arms(recipe)
    given = recipe.evaluate.calls if recipe.evaluate else {}
    for name in given:
        if name not in (known := [arm.name for arm in every]):
            raise unknown_name("student in evaluate.calls", name, known)
    learned = [arm.name for arm in every if arm.recipe.loss.guidance != 1.0 and "guidance_scale" in arguments]
    return {**{name: {"guidance_scale": 1.0} for name in learned}, **given}


def arms(recipe: Recipe) -> tuple[Arm, ...]:
    """The comparisons in the recipe's order, the run itself last.

    Raises:
        UserError: a comparison changes something to a wrong value or an unknown key.
    """
    base = recipe.model_dump(mode="python") | {"compare": {}}
    found = []
    for name, changes in recipe.compare.items():
        made = checked(merged(base, changes) | {"name": name}, name=f"compare.{name}")
        found.append(Arm(name, Path("compare") / name, made))
    return (*found, Arm(recipe.name, Path("."), checked(base, name=recipe.name)))
