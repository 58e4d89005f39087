"""Which words of a recipe are paths, and where they lead."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from condistill.pictures import says_pictures


def _absolute(text: str, base: Path) -> str:
    return text if "://" in text else os.path.abspath(base / os.path.expanduser(text))


def resolved_spec(spec: Any, base: Path) -> Any:
    """A corpus spec with its paths absolute. Lists hold keys, not paths, and are left alone."""
    if isinstance(spec, str):
        return _absolute(spec, base)
    if not isinstance(spec, Mapping):
        return spec
    result = dict(spec)
    if isinstance(spec.get("path"), str):
        result["path"] = _absolute(spec["path"], base)
    if "source" in spec:
        result["source"] = resolved_spec(spec["source"], base)
    if isinstance(spec.get("mixture"), list):
        result["mixture"] = [resolved_spec(part, base) for part in spec["mixture"]]
    holdout = spec.get("holdout")
    if isinstance(holdout, Mapping) and isinstance(holdout.get("words_file"), str):
        result["holdout"] = {**holdout, "words_file": _absolute(holdout["words_file"], base)}
    return result


def resolved_paths(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A copy of a recipe's values in which every local path is absolute. What is absolute already stays."""
    result = dict(values)
    data = values.get("data")
    if isinstance(data, Mapping):
        result["data"] = data = dict(data)
        for key in ("prompts", "corpus"):
            if key in data:
                data[key] = resolved_spec(data[key], base)
        if isinstance(data.get("cache"), str):
            data["cache"] = _absolute(data["cache"], base)
        data |= _pictured(data, base)
    section = values.get("evaluate")
    if isinstance(section, Mapping) and isinstance(section.get("prompts"), Mapping):
        prompts = {group: resolved_spec(spec, base) for group, spec in section["prompts"].items()}
        result["evaluate"] = {
            **section, "prompts": prompts, **_measured_against(section, base), **_pictured(section, base)
        }  # fmt: skip
    for arm, changes in (values.get("compare") or {}).items() if isinstance(values.get("compare"), Mapping) else ():
        if isinstance(changes, Mapping) and isinstance(changes.get("data"), Mapping):
            result["compare"] = {**result["compare"], arm: resolved_paths(changes, base)}
    teacher = values.get("teacher")
    if isinstance(teacher, str) and _is_folder(teacher, base):
        result["teacher"] = _absolute(teacher, base)
    elif isinstance(teacher, Mapping) and isinstance(teacher.get("load"), str) and _is_folder(teacher["load"], base):
        result["teacher"] = {**teacher, "load": _absolute(teacher["load"], base)}
    return result


def _pictured(section: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The call of a section, folders of pictures absolute."""
    call = section.get("call")
    if not isinstance(call, Mapping):
        return {}
    return {
        "call": {n: {"pictures": _absolute(v["pictures"], base)} if says_pictures(v) else v for n, v in call.items()}
    }


def _measured_against(section: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The reference and the backbones of an evaluation, local paths absolute; a hub id stays."""
    found: dict[str, Any] = {}
    if isinstance(section.get("reference"), str | Mapping):
        reference = section["reference"]
        found["reference"] = (
            resolved_spec(reference, base)
            if isinstance(reference, str)
            else {group: resolved_spec(value, base) for group, value in reference.items()}
        )
    if isinstance(section.get("backbones"), Mapping):
        found["backbones"] = {
            name: _absolute(where, base) if isinstance(where, str) and _is_local(where, base) else where
            for name, where in section["backbones"].items()
        }
    return found


def _is_local(where: str, base: Path) -> bool:
    """Whether it means a file or folder here and no hub id."""
    return where.startswith((".", "/", "~")) or where.count("/") != 1 or (base / where).exists()


def _is_folder(name: str, base: Path) -> bool:
    """Whether `name` means a local folder: it says so itself, or there is one with a pipeline in it."""
    if name.startswith((".", "/", "~")):
        return True
    return (base / name / "model_index.json").is_file()


def files_of(spec: Any) -> Iterator[Path]:
    """The local files that a corpus spec reads."""
    if isinstance(spec, str) and "://" not in spec:
        yield Path(spec)
    if not isinstance(spec, Mapping):
        return
    holdout = spec.get("holdout")
    for value in (spec.get("path"), holdout.get("words_file") if isinstance(holdout, Mapping) else None):
        if isinstance(value, str) and "://" not in value:
            yield Path(value)
    if "source" in spec:
        yield from files_of(spec["source"])
    mixture = spec.get("mixture")
    for part in mixture if isinstance(mixture, list) else ():
        yield from files_of(part)
