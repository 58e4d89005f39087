"""What of a run is done: told by the contents of its files, never by their times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.files import read_json, sha256
from condistill.reading import json_lines
from condistill.recipes.arms import Arm, arms
from condistill.recipes.schema import Recipe

RESULTS, LOG, STUDENT = "results.json", "log.jsonl", "student"


def is_trained(arm: Arm, out: Path) -> bool:
    """Whether the arm's student is saved with all of its steps."""
    log, saved = out / arm.folder / LOG, out / arm.folder / STUDENT / "model_index.json"
    if not saved.is_file() or not log.is_file():
        return False
    rows = json_lines(log)
    # its last line is written when the student is saved
    return bool(rows) and rows[-1].get("event") == "end" and rows[-1].get("step") == arm.recipe.train.steps


def is_finished(recipe: Recipe, out: Path) -> bool:
    """Whether all students are trained and their scores are those of these students; nothing is loaded."""
    every = arms(recipe)
    if not all(is_trained(arm, out) for arm in every):
        return False
    return recipe.evaluate is None or inputs_of(out / RESULTS) == inputs(recipe, every, out)


def folder_hash(folder: Path) -> str:
    """A hash of the weights and configs in a pipeline folder."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".safetensors", ".json"))
    parts = [f"{file.relative_to(folder)} {sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def inputs(recipe: Recipe, every: Sequence[Arm], out: Path) -> dict[str, str]:
    """What the scores depend on, as hashes: the evaluation's settings and every student's files."""
    assert recipe.evaluate is not None
    settings = {"teacher": recipe.teacher.model_dump(), "evaluate": recipe.evaluate.model_dump()}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    return {"settings": digest} | {arm.name: folder_hash(out / arm.folder / STUDENT) for arm in every}


def inputs_of(results: Path) -> Any:
    """What the scores in a file were made from; None where there are none."""
    try:
        return read_json(results)["protocol"]["inputs"]
    except (UserError, KeyError, TypeError):
        return None
