"""The arms of a recipe: the run itself and what it is compared with, each a recipe of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
