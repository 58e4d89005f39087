"""What a run shows beside its files: validation grids of the same prompts for all arms, and scores to the trackers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill import processes
from condistill.recipes.arms import Arm
from condistill.recipes.schema import Recipe

if TYPE_CHECKING:
    from condistill.evaluate import Results


def prompts_of(recipe: Recipe) -> Any:
    """The prompts of the validation grids: those given, else some of each group of the evaluation, else None."""
    from condistill.evaluate.items import choose
    from condistill.train.validation import COLUMNS

    wanted = recipe.train.validate_prompts
    if not recipe.train.validate_every or wanted or recipe.evaluate is None:
        return wanted
    groups = choose(recipe.evaluate.prompts, num_items=None, seed=recipe.evaluate.seed)
    return {items.group: list(items.keys[:COLUMNS]) for items in groups}


def share_teacher(arms: Sequence[Arm], arm: Arm, out: Path) -> None:
    """Takes over what the teacher drew for the grids of another arm; it is used only if it is of the same prompts."""
    from condistill.train.validation import FOLDER, TEACHER

    own = out / arm.folder / FOLDER / TEACHER
    if not arm.recipe.train.validate_every or not processes.is_main():
        return
    for file in (out / other.folder / FOLDER / TEACHER for other in arms):
        if file.is_file() and not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, own)


def tell_trackers(results: Results, arms: Sequence[Arm], out: Path) -> None:
    """Tells the trackers that followed each arm's training what its student scored."""
    from condistill.train.tracking import tell_scores

    for arm in arms:
        scores = next(model.groups for model in results.models if model.name == arm.name)
        values = {f"{group}/{name}": one.value for group, some in scores.items() for name, one in some.items()}
        tell_scores(arm.recipe.train.trackers, out / arm.folder, values, step=arm.recipe.train.steps)
