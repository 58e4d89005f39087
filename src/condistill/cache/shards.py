"""One shard: a safetensors file of latents and the rows that say what is in it, each written whole or not at all."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.files import load_tensors, save_tensors, sha256, write_atomic
from condistill.maths.randomise import Key

LATENTS, BOUND = "latents", "bound."


@dataclass(frozen=True)
class ShardPlan:
    """Shard `number` holds items start ... stop - 1."""

    number: int
    start: int
    stop: int

    @property
    def file(self) -> str:
        """The file of its tensors."""
        return f"shard-{self.number:05d}.safetensors"

    @property
    def rows_file(self) -> str:
        """The file of its rows."""
        return f"shard-{self.number:05d}.jsonl"


def write(
    folder: Path,
    plan: ShardPlan,
    latents: Tensor,
    bound: Mapping[str, Tensor],
    *,
    keys: Sequence[Key],
    seeds: Sequence[int],
) -> None:
    """The shard's file, then its rows: rows on disk vouch for a file that was whole."""
    tensors = {LATENTS: latents, **{f"{BOUND}{path}": value for path, value in bound.items()}}
    (folder / plan.rows_file).unlink(missing_ok=True)
    save_tensors(folder / plan.file, tensors)
    head = {"shard": plan.number, "start": plan.start, "stop": plan.stop, "sha256": sha256(folder / plan.file)}
    rows = [
        {"item": plan.start + k, "key": key, "seed": seed, "crc32": _crc(latents[k]), "bound": sorted(bound)}
        for k, (key, seed) in enumerate(zip(keys, seeds, strict=True))
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in (head, *rows)]
    write_atomic(folder / plan.rows_file, "\n".join(lines) + "\n")


def head(folder: Path, plan: ShardPlan) -> dict[str, Any] | None:
    """The first row of a shard that is on disk with its rows; None if either is missing or not readable."""
    try:
        with open(folder / plan.rows_file, encoding="utf-8") as file:
            found = json.loads(file.readline())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    fits = isinstance(found, dict) and (found.get("start"), found.get("stop")) == (plan.start, plan.stop)
    return found if fits and (folder / plan.file).is_file() else None


def read(folder: Path, plan: ShardPlan, *, latent_shape: tuple[int, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    """The shard's latents (n, *latent) and bound rows.

    Raises:
        UserError: the file is missing, damaged, or not of the expected shape; it is named, with what to do.
    """
    try:
        tensors, _ = load_tensors(folder / plan.file)
        latents = tensors.pop(LATENTS)
    except (UserError, KeyError) as error:
        raise damaged(folder / plan.file, str(error)) from None
    wanted = (plan.stop - plan.start, *latent_shape)
    if tuple(latents.shape) != wanted:
        raise damaged(folder / plan.file, f"it holds latents {tuple(latents.shape)}, wanted {wanted}")
    return latents, {name.removeprefix(BOUND): value for name, value in tensors.items()}


def is_good(folder: Path, plan: ShardPlan) -> bool:
    """Whether the file is the one that its rows vouch for."""
    found = head(folder, plan)
    return found is not None and sha256(folder / plan.file) == found.get("sha256")


def damaged(path: Path, why: str) -> UserError:
    """The error for a damaged shard."""
    return UserError(
        f"{path} is damaged or missing ({why}); nothing else is lost: `condistill cache RECIPE --repair` makes it again"
    )


def _crc(item: Tensor) -> int:
    return zlib.crc32(item.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
