"""One shard: a safetensors file of latents and the rows that say what is in it, each written whole or not at all."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.files import load_tensors, save_tensors, sha256, write_atomic
from condistill.maths.randomise import Key
from condistill.remote import RemoteFolder

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
    manifest_id: str,
) -> None:
    """The shard's file, then its rows: rows on disk vouch for a file that was whole."""
    tensors = {LATENTS: latents, **{f"{BOUND}{path}": value for path, value in bound.items()}}
    file = folder / plan.file
    (folder / plan.rows_file).unlink(missing_ok=True)
    save_tensors(file, tensors)
    head = {"shard": plan.number, "start": plan.start, "stop": plan.stop, "cache": manifest_id}
    head |= {"bytes": file.stat().st_size, "sha256": sha256(file)}
    rows = [
        {"item": plan.start + k, "key": key, "seed": seed, "crc32": crc32(latents, bound, k), "bound": sorted(bound)}
        for k, (key, seed) in enumerate(zip(keys, seeds, strict=True))
    ]
    # ASCII: a prompt may hold U+2028 or half a surrogate pair
    write_atomic(folder / plan.rows_file, "".join(json.dumps(row) + "\n" for row in (head, *rows)))


def head(folder: Path | RemoteFolder, plan: ShardPlan, *, manifest_id: str) -> dict[str, Any] | None:
    """The first row of a shard that is on disk, of the right size, with its rows; None if anything of it is not."""
    try:
        with open(folder / plan.rows_file, encoding="utf-8") as file:
            found = json.loads(file.readline())
        # of a file behind a URL the size is known without a copy
        size = folder.sizes.get(plan.file) if isinstance(folder, RemoteFolder) else (folder / plan.file).stat().st_size
    except (OSError, ValueError, RecursionError):
        return None
    wanted = {"start": plan.start, "stop": plan.stop, "cache": manifest_id, "bytes": size}
    return found if isinstance(found, dict) and wanted.items() <= found.items() else None


def checksums(folder: Path | RemoteFolder, plan: ShardPlan) -> np.ndarray:
    """The CRC-32 that the rows give for each item, (n,) uint32.

    Raises:
        UserError: the rows are damaged.
    """
    try:
        lines = (folder / plan.rows_file).read_text(encoding="utf-8").split("\n")[1:-1]
        found = np.array([int(json.loads(line)["crc32"]) for line in lines], dtype=np.uint32)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise damaged(folder / plan.rows_file, f"its rows are not readable: {type(error).__name__}") from None
    if len(found) != plan.stop - plan.start:
        raise damaged(folder / plan.rows_file, f"it has {len(found)} rows, wanted {plan.stop - plan.start}")
    return found


def read(
    folder: Path | RemoteFolder, plan: ShardPlan, *, latent_shape: tuple[int, ...]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The shard's latents (n, *latent) and bound rows, mapped from the file: what is not looked at is not read.

    Raises:
        UserError: the file is missing, damaged, or not of the expected shape; it is named, with what to do.
    """
    try:
        tensors, _ = load_tensors(folder / plan.file)
        latents = tensors.pop(LATENTS)
    except (UserError, KeyError) as error:
        raise damaged(folder / plan.file, str(error)) from None
    wanted = (plan.stop - plan.start, *latent_shape)
    if tuple(latents.shape) != wanted or not latents.is_floating_point():
        raise damaged(folder / plan.file, f"it holds {latents.dtype} latents {tuple(latents.shape)}, wanted {wanted}")
    if any(not value.ndim or len(value) != wanted[0] for value in tensors.values()):
        raise damaged(folder / plan.file, f"what is bound to its items has not {wanted[0]} rows")
    return latents, {name.removeprefix(BOUND): value for name, value in tensors.items()}


def is_good(folder: Path | RemoteFolder, plan: ShardPlan, *, manifest_id: str) -> bool:
    """Whether the file is, bit for bit, the one that its rows vouch for."""
    found = head(folder, plan, manifest_id=manifest_id)
    return found is not None and sha256(folder / plan.file) == found.get("sha256")


def damaged(path: Path, why: str) -> UserError:
    """The error for a damaged shard."""
    return UserError(
        f"{path} is damaged or missing ({why}); nothing else is lost: `condistill cache RECIPE --repair` makes it again"
    )


def crc32(latents: Tensor, bound: Mapping[str, Tensor], row: int) -> int:
    """The CRC-32 of one item: its latent, then what is bound to it, by name."""
    found = 0
    for value in (latents, *(bound[name] for name in sorted(bound))):
        item = value[row].detach().cpu().contiguous().reshape(-1)
        found = zlib.crc32(item.view(torch.uint8).numpy().data, found)
    return found
