"""From a file, or the name of a shipped recipe, and `key=value` overrides to a checked Recipe.

>>> load_recipe("emoji", ["train.steps=100"]).train.steps
100
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from condistill.errors import UserError, nearest
from condistill.recipes import strict_yaml
from condistill.recipes.paths import resolved_paths
from condistill.recipes.schema import SHORTHAND, Recipe, checked

FILE = "recipe.yaml"  # in a run folder
_SCALAR_OF = {**SHORTHAND, "p_random": "name", "swap": "by"}


def shipped() -> dict[str, Path]:
    """Name -> file of the recipes that come with the package."""
    folder = Path(str(resources.files("condistill.recipes") / "library"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


def is_shipped(recipe: str | Path) -> bool:
    """Whether `recipe` means a shipped recipe rather than a file of the user's."""
    return find(recipe) in shipped().values()


def default_folder(recipe: str | Path) -> Path:
    """The run folder where none is named: a run folder given as the recipe, else runs/NAME."""
    path = Path(os.path.expanduser(recipe))
    if path.is_dir() and (path / FILE).is_file():
        return path
    file = find(recipe)
    return Path("runs") / (file.absolute().parent.name if file.name == FILE else file.stem)


def find(recipe: str | Path) -> Path:
    """The file of a recipe: a path, a run folder (its own recipe) or the name of a shipped one.

    Raises:
        UserError: neither; the nearest shipped name is suggested.
    """
    path, known = Path(os.path.expanduser(recipe)), shipped()
    if path.is_file():
        return path
    if (path / FILE).is_file():
        return path / FILE
    if str(recipe) in known:
        return known[str(recipe)]
    if path.is_dir():
        raise UserError(
            f"{path} is a folder without a {FILE}; a recipe (a YAML file), a run folder or a shipped name is wanted"
        )
    guess = nearest(str(recipe), known)
    hint = f"did you mean {guess!r}? " if guess else ""
    raise UserError(f"no such recipe: {recipe}; {hint}give a YAML file or one of: {', '.join(known)}")


def run_folder(run: str | Path) -> Path:
    """The folder of a run that was begun.

    Raises:
        UserError: no such folder, or none that a run was made in.
    """
    folder = Path(os.path.expanduser(run))
    if not folder.is_dir():
        raise UserError(f"no such run folder: {run}; give the folder that a run was made in, as runs/NAME")
    if not (folder / FILE).is_file():
        raise UserError(f"{run} is no run folder: it has no {FILE}; condistill run RECIPE --out FOLDER makes one")
    return folder


def load_recipe(recipe: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe with all defaults filled in and local paths made absolute.

    Paths in a recipe are relative to the recipe's own folder, those in overrides and in shipped recipes to the
    current one.

    Args:
        recipe: a YAML file, or the name of a shipped recipe.
        overrides: "train.steps=100"; the value is YAML.

    Raises:
        UserError: whatever is wrong first, in one line.
    """
    path = find(recipe)
    ours = is_shipped(recipe)
    name = str(recipe) if ours else str(path)
    values = strict_yaml.read(path)
    if not isinstance(values, Mapping):
        raise UserError(f"{name} is no recipe: a mapping with teacher, student, data and train is wanted")
    here = Path.cwd()
    values = resolved_paths(values, here if ours else path.absolute().parent)
    for override in overrides:
        values = overridden(values, override)
    return checked(resolved_paths(values, here), name=name)


def overridden(values: Mapping[str, Any], override: str) -> dict[str, Any]:
    """A copy of `values` with one `key=value` applied.

    >>> overridden({"student": "b-base"}, "student.init=random")
    {'student': {'spec': 'b-base', 'init': 'random'}}

    Raises:
        UserError: not of the form key=value, or a key below something that is no mapping.
    """
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise UserError(f"override {override!r} is not key=value; for example train.steps=100")
    result = copy.deepcopy(dict(values))
    place: dict[str, Any] = result
    for depth, part in enumerate(keys[:-1]):
        below = place.get(part)
        if depth == 0 and part in _SCALAR_OF and isinstance(below, str):
            below = {_SCALAR_OF[part]: below}
        if below is not None and not isinstance(below, dict):
            raise UserError(
                f"override {override!r}: {'.'.join(keys[: depth + 1])} is {below!r}, which has no keys below it"
            )
        place[part] = below = {} if below is None else below
        place = below
    place[keys[-1]] = strict_yaml.parse(text, name=f"override {override!r}")
    return result


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` laid over it, section by section; a word for a section replaces what it stands for.

    >>> merged({"train": {"lr": 1, "steps": 2}}, {"train": {"lr": 3}})
    {'train': {'lr': 3, 'steps': 2}}
    """
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        if key in SHORTHAND and isinstance(change, str):
            change = {SHORTHAND[key]: change}
        both = (
            isinstance(change, Mapping)
            and isinstance(old, Mapping)
            and key not in ("p_random", "swap", "corpus", "spec", "call")
        )
        result[key] = merged(old, change) if both else change  # type: ignore[arg-type]
    return result
