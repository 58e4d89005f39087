"""What a run folder holds, as values: results, logs of all arms, pictures, recipe. Any part may be missing but all."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from condistill.errors import UserError
from condistill.evaluate.results import Results
from condistill.files import read_json
from condistill.maths.randomise import Key
from condistill.reading import json_lines, listed, mapping, number, optional, text, whole

# the lines that the resolved recipe of a run folder begins with; they say nothing about how settings were chosen
_WRITTEN_BY_US = ("the recipe of this run", "written by")
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".wav": "audio/wav"}
NOTES = ("notes.md", "notes.txt")
GRIDS_SHOWN = 12  # validation grids of an arm; the page holds every picture in itself


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
class Validation:
    """The grids that were made while an arm was trained.

    Attributes:
        name: of the arm.
        groups: group -> the keys of its columns, from left to right.
        grids: step -> data URI of its file.
    """

    name: str
    groups: Mapping[str, Sequence[Key]]
    grids: Mapping[int, str]


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
        validations: of the arms that have some.
    """

    name: str
    results: Results | None
    arms: tuple[ArmLog, ...]
    pictures: Pictures | None
    recipe: str
    notes: str
    validations: tuple[Validation, ...] = ()


def read_run(folder: str | Path) -> Run:
    """The run in a folder.

    Raises:
        UserError: no such folder, or neither results nor a log in it; a file that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no such run folder: {folder}; give the folder that a run was made in, as runs/NAME")
    results = Results.load(folder) if (folder / "results.json").exists() else None
    recipe = _text(folder / "recipe.yaml")
    arms = _arms(folder, _main_name(recipe))
    if results is None and not arms and recipe:
        raise UserError(f"nothing was trained in {folder} yet; to go on: condistill run {folder}")
    if results is None and not arms:
        raise UserError(f"{folder} has neither results.json nor log.jsonl; it is no run folder")
    pictures = _pictures(folder / "samples")
    places = _places(folder, _main_name(recipe)).items()
    found = tuple(one for name, place in places if (one := _validation(name, place / "validation")) is not None)
    return Run(folder.resolve().name, results, arms, pictures, recipe, _notes(folder, recipe), found)


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
        # every scalar a text, no tags, no merge keys: nothing that a hostile file could blow up
        values = yaml.load(recipe, yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return ""
    value = values.get(key) if isinstance(values, Mapping) else None
    return value if isinstance(value, str) else ""


def _main_name(recipe: str) -> str:
    return _recipe_value(recipe, "name") or "student"


def _places(folder: Path, main: str) -> dict[str, Path]:
    """Arm -> its folder, the main one first."""
    compared = sorted(path for path in (folder / "compare").glob("*") if path.is_dir())
    return {main: folder, **{path.name: path for path in compared}}


def _arms(folder: Path, main: str) -> tuple[ArmLog, ...]:
    logs = (_log(name, place / "log.jsonl") for name, place in _places(folder, main).items())
    return tuple(log for log in logs if log is not None)


def _log(name: str, path: Path) -> ArmLog | None:
    """The log, without the half line that a killed run may leave at the end."""
    rows = json_lines(path)
    for k, row in enumerate(rows):
        _check_row(row, f"{path}, line {k + 1}")
    if not rows:
        return None
    by_event = {event: [row for row in rows if row.get("event") == event] for event in ("start", "step", "end")}
    start, end = (by_event[event][-1:] or [{}] for event in ("start", "end"))
    return ArmLog(name, start[0], tuple(by_event["step"]), end[0])


def _check_row(row: Mapping[str, Any], where: str) -> None:
    """Nothing, if the page can show what a line of the log says.

    Raises:
        UserError: it cannot.
    """
    for key in ("step", "steps", "batch", "parameters"):
        optional(whole, row.get(key), f"{where}: {key}")
    for key in ("loss", "swap_rate", "samples_per_second", "seconds"):
        if (row.get("event"), key) != ("start", "loss"):  # what a run starts with says the weights of its loss
            optional(_number, row.get(key), f"{where}: {key}")
    for key in ("terms", "taps"):
        for name, value in mapping(row.get(key, {}), f"{where}: {key}").items():
            optional(_number, value, f"{where}: {key}.{name}")
    for key in ("by_time", "swap_rate_by_time"):
        for entry in listed(row.get(key, ()), f"{where}: {key}"):
            known = mapping(entry, f"{where}: {key}")
            for name in ("low", "high"):
                number(known.get(name), f"{where}: {key}.{name}")
            for name in ("out", "feat", "p"):
                optional(_number, known.get(name), f"{where}: {key}.{name}")
            swapped, count = (whole(known.get(name, 0), f"{where}: {key}.{name}") for name in ("swapped", "n"))
            if not 0 <= swapped <= max(count, 0):
                raise UserError(f"{where}: {key} has {swapped} swapped of {count}; restore the file from a copy")


def _number(value: Any, where: str) -> float:
    """A number that may be infinite or none, as a loss can be."""
    return number(value, where, finite=False)


def _pictures(folder: Path) -> Pictures | None:
    if not (folder / "index.json").exists():
        return None
    index = read_json(folder / "index.json")
    try:
        groups = {str(group): [_key(key) for key in keys] for group, keys in index["groups"].items()}
        models = {
            str(model): {str(group): [_data_uri(folder, name) for name in names] for group, names in by_group.items()}
            for model, by_group in index["models"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / 'index.json'} is no index of samples ({error}); evaluate again") from error
    for model, by_group in models.items():
        for group, pictures in by_group.items():
            if len(pictures) != len(groups.get(group, ())):
                raise UserError(f"{folder / 'index.json'} has {len(pictures)} pictures of {model} for "
                                f"{len(groups.get(group, ()))} prompts of {group}; evaluate again")  # fmt: skip
    return Pictures(groups, models)


def _validation(name: str, folder: Path) -> Validation | None:
    """The grids of an arm; of many, GRIDS_SHOWN from the first to the last."""
    file = folder / "index.json"
    if not file.is_file():
        return None
    index = mapping(read_json(file), str(file))
    groups = {
        str(group): [_key(key) for key in listed(keys, f"{file}: {group}")]
        for group, keys in mapping(index.get("groups"), f"{file}: groups").items()
    }
    rows = [mapping(row, f"{file}: steps") for row in listed(index.get("steps"), f"{file}: steps")]
    named = sorted((whole(row.get("step"), f"{file}: step"), text(row.get("file"), f"{file}: file")) for row in rows)
    last = len(named) - 1
    shown = sorted({round(k * last / max(1, GRIDS_SHOWN - 1)) for k in range(GRIDS_SHOWN)}) if named else []
    grids = {named[k][0]: _data_uri(folder, named[k][1]) for k in (shown if last >= GRIDS_SHOWN else range(last + 1))}
    grids = {step: uri for step, uri in grids.items() if uri}
    return Validation(name, groups, grids) if grids else None


def _key(key: Any) -> Key:
    """The key of a sample, half surrogate pairs written as escapes."""
    return key.encode(errors="backslashreplace").decode() if isinstance(key, str) else key


def _data_uri(folder: Path, name: str) -> str:
    """The picture or sound as a data URI; only those that lie in the folder itself are read."""
    path = folder / text(name, str(folder / "index.json"))
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or path.name != name or "\0" in name or path.resolve().parent != folder.resolve():
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
