"""The cells of an ablation: every combination of values, times every training seed, each a recipe of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.recipes import strict_yaml
from condistill.recipes.load import load_recipe
from condistill.recipes.schema import Recipe

# what a grid sets itself, or what must be the same for its numbers to stand in one table
_NOT_SWEPT = {
    "name": "cells are named by their values",
    "teacher": "all cells are measured against one teacher",
    "evaluate": "all cells are measured by one protocol",
    "train.seed": "say --seeds",
    "student.seed": "say --seeds",
    "data.cache": "the grid has its own folder for D",
}
_SHORT = 40  # characters of one value in a cell's name


@dataclass(frozen=True)
class Axis:
    """A dotted key of the recipe and the values that it takes, with a short label for each."""

    key: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        name: of its folder.
        labels: key -> label of its value.
        seed: of its training.
        recipe: what it is made by.
        data_name: the same for cells that share D.
    """

    name: str
    labels: Mapping[str, str]
    seed: int
    recipe: Recipe
    data_name: str


def axis(text: str) -> Axis:
    """The axis of one `--over KEY=VALUES`: values separated by commas, or a YAML list.

    A value is labelled by itself; {label: ..., value: ...} gives it another label.

    >>> axis("p_random=never,{name: sigmoid, k: 20}").labels
    ('never', 'sigmoid k 20')

    Raises:
        UserError: not of that form, no or equal values, or a key that a grid sets itself.
    """
    key, equals, listed = (part.strip() for part in text.partition("="))
    if not equals or not key or not listed:
        raise UserError(f"--over {text!r} is not KEY=VALUE,VALUE; for example p_random=never,exponential")
    for fixed, reason in _NOT_SWEPT.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise UserError(f"--over {text!r}: {key} cannot be swept; {reason}")
    written = listed if listed.startswith("[") and listed.endswith("]") else f"[{listed}]"
    listed_values = strict_yaml.parse(written, name=f"--over {text!r}")
    if not listed_values:
        raise UserError(f"--over {text!r} has no values; for example {key}=A,B")
    labels, values = zip(*map(_labelled, listed_values), strict=True)
    for value, label in zip(values, labels, strict=True):
        if labels.count(label) > 1:
            raise UserError(f"--over {text!r} has the value {value!r} twice; leave one out")
    return Axis(key, values, labels)


def cells(
    recipe: str | Path, overrides: Iterable[str], axes: Sequence[Axis], *, seeds: Iterable[int], out: Path
) -> list[Cell]:
    """All cells, seed by seed, so that a grid that is stopped has whole sets of combinations.

    A cell is the recipe without its comparisons (unless these are swept), with the overrides, the cell's values, and
    its seed for the student's weights and for training. D and the evaluation are the recipe's own.

    Args:
        recipe: a file, a run folder or a shipped name.
        overrides: key=value, for every cell.
        axes: what is swept.
        seeds: of training.
        out: the grid's folder; D lies in it.

    Raises:
        UserError: an unknown key, a wrong value, two combinations that are the same recipe, no evaluation.
    """
    given, keys = list(overrides), [one.key for one in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"--over {key} is given twice; put all values into one")
    if not any(_names(key, "compare") for key in keys):
        if any(_names(override, "compare") for override in given):
            raise UserError("comparisons are left out of a grid; sweep what they change with --over")
        given += ["compare={}", "name=student"]
    found = []
    for seed in seeds:
        combinations = [
            _cell(recipe, given, axes, places, seed=seed, out=out)
            for places in itertools.product(*(range(len(one.values)) for one in axes))
        ]
        _refuse_equal(combinations)
        found += combinations
    return found


def _names(text: str, section: str) -> bool:
    return re.match(rf"{section}\s*(\.|=|$)", text.strip()) is not None


def _cell(
    recipe: str | Path, given: Sequence[str], axes: Sequence[Axis], places: Sequence[int], *, seed: int, out: Path
) -> Cell:
    swept = [f"{one.key}={json.dumps(one.values[place])}" for one, place in zip(axes, places, strict=True)]
    made = load_recipe(recipe, [*given, *swept, f"train.seed={seed}", f"student.seed={seed}"])
    if made.evaluate is None:
        raise UserError(f"{recipe} has no section evaluate, so there is nothing to compare; add one")
    labels = {one.key: one.labels[place] for one, place in zip(axes, places, strict=True)}
    data_name = _data_name(made)
    if made.data.cache is None:
        cache = str((out / "D" / data_name).absolute())
        made = made.model_copy(update={"data": made.data.model_copy(update={"cache": cache})})
    name = "_".join([*map(_slug, labels.values()), f"seed-{seed}"])
    return Cell(name, labels, seed, made, data_name)


def _refuse_equal(combinations: Sequence[Cell]) -> None:
    seen: dict[str, Cell] = {}
    for cell in combinations:
        told = cell.recipe.model_dump_json()
        if told in seen:
            raise UserError(f"cells {seen[told].name} and {cell.name} are the same recipe; leave one value out")
        seen[told] = cell


def _data_name(recipe: Recipe) -> str:
    """Short and the same for recipes with the same D."""
    data = recipe.data.model_dump(exclude={"cache", "corpus", "batch"})
    told = json.dumps([recipe.teacher.model_dump(), data], sort_keys=True, default=str)
    return _hash(told)


def _labelled(value: Any) -> tuple[str, Any]:
    if isinstance(value, Mapping) and set(value) == {"label", "value"}:
        return str(value["label"]), value["value"]
    return _shortened(_label(value)), value


def _label(value: Any) -> str:
    """A value for people: words as they are, mappings without their punctuation."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        parts = (f"{'' if key == 'name' else f'{key} '}{_label(below)}" for key, below in value.items())
        return " ".join(parts)
    return " ".join(map(_label, value)) if isinstance(value, list) else json.dumps(value)


def _shortened(label: str) -> str:
    return label if len(label) <= 60 else f"{label[:50]}... {_hash(label)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _slug(label: str) -> str:
    """A label as a part of a folder's name; one that had to be changed keeps a hash, so that no two are alike.

    >>> _slug("b-base"), _slug("depth=0.5")
    ('b-base', 'depth-0.5-abcfa843')
    """
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", label).strip("-.")[:_SHORT]
    return plain if plain == label else f"{plain}-{_hash(label)}".lstrip("-")
