"""Checkpoints: written beside, verified by checksum, renamed; the newest good one is used."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from condistill.errors import Remark, UserError
from condistill.files import (
    atomic_folder,
    each_tensor,
    load_tensors,
    read_json,
    remove_folder,
    save_tensors,
    sha256,
    write_json,
)

SCHEMA = 1


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint; its tensors stay on disk until they are asked for.

    Attributes:
        folder: where it is.
        step: optimiser steps done.
        parts: names of its groups of tensors ("0.pupil", "0.ema", "0.optimizer", ...).
        settings: what the run was started with.
        seconds: time trained so far.
        counts: what else is counted over a run.
    """

    folder: Path
    step: int
    parts: tuple[str, ...]
    settings: Mapping[str, Any]
    seconds: float
    counts: Mapping[str, int]

    def each(self, part: str) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of a part, one by one, so that going on needs no more memory than starting did."""
        return each_tensor(self.folder / f"{part}.safetensors")

    def tensors(self, part: str) -> dict[str, Tensor]:
        """All of a small part at once; empty where the checkpoint has no such part."""
        return load_tensors(self.folder / f"{part}.safetensors")[0] if part in self.parts else {}


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    settings: Mapping[str, Any],
    seconds: float,
    keep: int,
    counts: Mapping[str, int] | None = None,
) -> Path:
    """The folder of the new checkpoint, after which only it and the newest `keep - 1` before it remain.

    Raises:
        UserError: the disk is full; earlier checkpoints are untouched.
    """
    target = _folder(folder, step)
    with atomic_folder(target) as part:
        sums = {name: sha256(save_tensors(part / f"{name}.safetensors", some)) for name, some in tensors.items()}
        state = {"schema": SCHEMA, "step": step, "seconds": seconds, "settings": settings, "sha256": sums}
        state |= {"counts": dict(counts or {})}
        write_json(part / "state.json", {**state, "own_sha256": _digest(state)})
    # one of a later step was passed over as damaged when this run went on
    kept = [old for old in steps_saved(folder) if old <= step][-keep:]
    for old in steps_saved(folder):
        if old not in kept:
            remove_folder(_folder(folder, old))
    return target


def steps_saved(folder: Path) -> list[int]:
    """Steps that have a checkpoint, in order."""
    return sorted(int(path.name[5:]) for path in folder.glob("step-*") if path.name[5:].isdigit())


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose checksums are right; damaged ones are passed over with a warning.

    Raises:
        UserError: there are checkpoints, and none of them is good.
    """
    steps, why = steps_saved(folder), ""
    for step in reversed(steps):
        where = _folder(folder, step)
        try:
            return _load(where, step)
        except (UserError, KeyError, TypeError, AttributeError, OSError) as error:
            why = why or str(error)
            warnings.warn(Remark(f"checkpoint {where} is damaged and passed over: {error}"), stacklevel=2)
    if steps:
        raise UserError(
            f"none of the {len(steps)} checkpoints in {folder} is whole ({why}); nothing was overwritten: restore one "
            "from a copy, or remove that folder to train again from step 0"
        )
    return None


def _folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def _digest(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _load(where: Path, step: int) -> Checkpoint:
    state = read_json(where / "state.json")
    if state["schema"] != SCHEMA:
        raise UserError(f"{where} has schema {state['schema']}, this version reads {SCHEMA}")
    own = state.pop("own_sha256")
    if own != _digest(state) or state["step"] != step:
        raise UserError(f"{where / 'state.json'} does not match its checksum")
    for name, expected in state["sha256"].items():
        file = where / f"{name}.safetensors"
        if not file.is_file() or sha256(file) != expected:
            raise UserError(f"{file} is missing or does not match its checksum")
    return Checkpoint(where, step, tuple(state["sha256"]), state["settings"], state["seconds"], state["counts"])


def refuse_other_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], *, folder: Path) -> None:
    """Nothing, if a run started with `found` may go on with `wanted`.

    Raises:
        UserError: something that changes its numbers differs; each difference is named, old -> new.
    """
    a, b = _flat(found), _flat(json.loads(json.dumps(wanted)))
    rows = [f"{k}: {_short(a.get(k))} -> {_short(b.get(k))}" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
    if rows:
        raise UserError(
            f"{folder} holds a run with other settings ({'; '.join(rows)}); nothing was overwritten: "
            "choose another folder, or go on with the old settings"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in tree.items():
        out.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return out


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
