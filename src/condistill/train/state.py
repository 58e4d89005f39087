"""Checkpoints: written beside, verified by checksum, renamed; the newest good one is used."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from condistill.errors import UserError
from condistill.files import load_tensors, read_json, save_tensors, sha256, write_json

SCHEMA = 1


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        step: optimiser steps done.
        tensors: part ("pupil", "ema", "optimizer", ...) -> name -> tensor.
        settings: what the run was started with.
        seconds: time trained so far.
    """

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    settings: Mapping[str, Any]
    seconds: float


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    settings: Mapping[str, Any],
    seconds: float,
    keep: int,
) -> Path:
    """The folder of the new checkpoint, after which only the newest `keep` remain.

    Raises:
        UserError: the disk is full; earlier checkpoints are untouched.
    """
    target, part = folder / f"step-{step:08d}", folder / f".step-{step:08d}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        sums = {name: sha256(save_tensors(part / f"{name}.safetensors", some)) for name, some in tensors.items()}
        state = {"schema": SCHEMA, "step": step, "seconds": seconds, "settings": settings, "sha256": sums}
        write_json(part / "state.json", state)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for old in steps_saved(folder)[:-keep]:
        shutil.rmtree(folder / f"step-{old:08d}", ignore_errors=True)
    return target


def steps_saved(folder: Path) -> list[int]:
    """Steps that have a checkpoint, in order."""
    return sorted(int(path.name[5:]) for path in folder.glob("step-*") if path.name[5:].isdigit())


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose checksums are right; damaged ones are passed over with a warning."""
    for step in reversed(steps_saved(folder)):
        where = folder / f"step-{step:08d}"
        try:
            return _load(where)
        except (UserError, KeyError, TypeError, OSError) as error:
            warnings.warn(f"checkpoint {where} is damaged and passed over: {error}", stacklevel=2)
    return None


def _load(where: Path) -> Checkpoint:
    state = read_json(where / "state.json")
    if state["schema"] != SCHEMA:
        raise UserError(f"{where} has schema {state['schema']}, this version reads {SCHEMA}")
    tensors = {}
    for name, expected in state["sha256"].items():
        file = where / f"{name}.safetensors"
        if not file.is_file() or sha256(file) != expected:
            raise UserError(f"{file} is missing or does not match its checksum")
        tensors[name] = load_tensors(file)[0]
    return Checkpoint(step=state["step"], tensors=tensors, settings=state["settings"], seconds=state["seconds"])


def refuse_other_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], *, folder: Path) -> None:
    """Nothing, if a run started with `found` may go on with `wanted`.

    Raises:
        UserError: something that changes its numbers differs; each difference is named.
    """
    a, b = _flat(found), _flat(json.loads(json.dumps(wanted)))
    rows = [f"{k}: {a.get(k)!r} then, {b.get(k)!r} now" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
    if rows:
        raise UserError(
            f"{folder} holds a run with other settings ({'; '.join(rows[:6])}); nothing was overwritten: "
            "choose another folder, or go on with the old settings"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in tree.items():
        out.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return out
