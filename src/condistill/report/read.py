"""What a run folder holds, as values: results, logs of all arms, pictures, recipe. Any part may be missing but all."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from condistill.errors import UserError
from condistill.evaluate.results import Results
from condistill.files import read_json
from condistill.maths.randomise import Key

# the lines that the resolved recipe of a run folder begins with; they say nothing about how settings were chosen
_WRITTEN_BY_US = ("the recipe of this run", "written by")
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".wav": "audio/wav"}
NOTES = ("notes.md", "notes.txt")


@dataclass(frozen=True)
class ArmLog:
    """The training log of one arm.

    Attributes:
        name: as in results.
        start: the last "start" line: seed, steps, batch, p_random, parameters, ...
        steps: the "step" lines.
        end: the "end" line, empty while the arm is still training.
    """

    name: str
    start: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...]
    end: Mapping[str, Any]


@dataclass(frozen=True)
class Pictures:
    """The grid of samples.

    Attributes:
        groups: group -> the keys shown.
        models: model -> group -> one data URI per key; "" where the file is gone.
    """

    groups: Mapping[str, Sequence[Key]]
    models: Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        name: the folder's name.
        results: of the evaluation; None before it.
        arms: the main arm first, then those it is compared with.
        pictures: None where there are none.
        recipe: the text of recipe.yaml; "" where there is none.
        notes: how the settings were chosen: notes.md, the recipe's `notes`, or its first comments.
    """

    name: str
    results: Results | None
    arms: tuple[ArmLog, ...]
    pictures: Pictures | None
    recipe: str
    notes: str


def read_run(folder: str | Path) -> Run:
    """The run in a folder.

    Raises:
        UserError: no such folder, or neither results nor a log in it; a file that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no such run folder: {folder}")
    results = Results.load(folder) if (folder / "results.json").exists() else None
    recipe = _text(folder / "recipe.yaml")
    arms = _arms(folder, _main_name(recipe))
    if results is None and not arms:
        raise UserError(f"{folder} has neither results.json nor log.jsonl; it is no run folder, or nothing has run yet")
    pictures = _pictures(folder / "samples")
    return Run(folder.resolve().name, results, arms, pictures, recipe, _notes(folder, recipe))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}); restore it from a copy") from error


def _recipe_value(recipe: str, key: str) -> str:
    """A string of the recipe; "" if the recipe cannot be read, since the page shows its text in any case."""
    try:
        values = yaml.safe_load(recipe)
    except yaml.YAMLError:
        return ""
    value = values.get(key) if isinstance(values, Mapping) else None
    return value if isinstance(value, str) else ""


def _main_name(recipe: str) -> str:
    return _recipe_value(recipe, "name") or "student"


def _arms(folder: Path, main: str) -> tuple[ArmLog, ...]:
    compared = sorted(path for path in (folder / "compare").glob("*") if path.is_dir())
    places = {main: folder, **{path.name: path for path in compared}}
    logs = (_log(name, place / "log.jsonl") for name, place in places.items())
    return tuple(log for log in logs if log is not None)


def _log(name: str, path: Path) -> ArmLog | None:
    """The log, without the half line that a killed run may leave at the end."""
    rows = []
    for line in _text(path).splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows += [row] if isinstance(row, dict) else []
    if not rows:
        return None
    by_event = {event: [row for row in rows if row.get("event") == event] for event in ("start", "step", "end")}
    start, end = (by_event[event][-1:] or [{}] for event in ("start", "end"))
    return ArmLog(name, start[0], tuple(by_event["step"]), end[0])


def _pictures(folder: Path) -> Pictures | None:
    if not (folder / "index.json").exists():
        return None
    index = read_json(folder / "index.json")
    try:
        groups = {str(group): list(keys) for group, keys in index["groups"].items()}
        models = {
            str(model): {str(group): [_data_uri(folder, name) for name in names] for group, names in by_group.items()}
            for model, by_group in index["models"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / 'index.json'} is no index of samples ({error}); evaluate again") from error
    return Pictures(groups, models)


def _data_uri(folder: Path, name: str) -> str:
    """The picture or sound as a data URI; only those that lie in the folder itself are read."""
    path = folder / name
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or path.name != name or path.resolve().parent != folder.resolve():
        raise UserError(f"{folder / 'index.json'} names {name!r}, which is no picture of this folder; evaluate again")
    if not path.is_file():
        return ""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _notes(folder: Path, recipe: str) -> str:
    for name in NOTES:
        if text := _text(folder / name).strip():
            return text
    return _recipe_value(recipe, "notes").strip() or first_comments(recipe)


def first_comments(recipe: str) -> str:
    """The comment that a recipe begins with, without the lines that condistill writes itself.

    >>> first_comments("# lr: the best of three tried\\nname: with\\n# later")
    'lr: the best of three tried'
    """
    lines = []
    for line in recipe.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(line for line in lines if not line.startswith(_WRITTEN_BY_US)).strip()
