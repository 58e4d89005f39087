"""Cache: D on disk, planned before its first item is made, read in any order."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condistill.cache import shards
from condistill.cache.batch import Batch
from condistill.cache.manifest import Manifest
from condistill.cache.shards import ShardPlan
from condistill.errors import UserError
from condistill.files import MIB, read_json, write_atomic, write_json
from condistill.maths.randomise import Key

MANIFEST, PLAN = "manifest.json", "plan.jsonl"
# shards kept in memory once read; D of the demo fits whole, a large D is read shard by shard
REMEMBERED_BYTES = 1024 * MIB


class Cache:
    """D: a folder of shards, a plan of all items and a manifest. Made by `create` or `open`, not by hand.

    Attributes:
        folder: where it is.
        manifest: how it is made.
    """

    def __init__(self, folder: Path, manifest: Manifest, rows: list[tuple[Key, int]]):
        self.folder, self.manifest, self._rows = folder, manifest, rows
        self._open: OrderedDict[int, tuple[Tensor, dict[str, Tensor]]] = OrderedDict()
        self._open_bytes = 0

    @classmethod
    def create(cls, folder: str | Path, manifest: Manifest, keys: Sequence[Key], seeds: Sequence[int]) -> Cache:
        """The cache planned in `folder`; one that was begun there with the same plan is gone on with.

        Raises:
            UserError: the folder holds another cache, or files that are none of ours; nothing is overwritten.
        """
        folder = Path(folder)
        rows = [(json.loads(json.dumps(key)), int(seed)) for key, seed in zip(keys, seeds, strict=True)]
        if (folder / MANIFEST).exists():
            found = cls._read(folder)
            differs = found.manifest.differences(manifest)
            if not differs and found._rows != rows:
                differs = ["keys: others than asked for now"]
            if differs:
                raise UserError(
                    f"{folder} holds a cache that was made otherwise ({'; '.join(differs)}); nothing was overwritten: "
                    "choose another folder, or ask for the same again"
                )
            return found
        if folder.is_dir() and any(path.name != PLAN and not path.name.startswith(".") for path in folder.iterdir()):
            raise UserError(f"{folder} is not empty and holds no cache; choose another folder for D")
        lines = [json.dumps({"key": key, "seed": seed}, ensure_ascii=False) for key, seed in rows]
        write_atomic(folder / PLAN, "\n".join(lines) + "\n")
        write_json(folder / MANIFEST, manifest.to_json())
        return cls._read(folder)

    @classmethod
    def open(cls, folder: str | Path, teacher_hash: str | None = None) -> Cache:
        """The finished cache in `folder`.

        Args:
            teacher_hash: refuse a cache of another teacher.

        Raises:
            UserError: no cache, one of another teacher, or one with items missing.
        """
        found = cls._read(Path(folder))
        if teacher_hash is not None and found.manifest.teacher != teacher_hash:
            raise UserError(
                f"{folder} was made by another teacher ({found.manifest.teacher[:12]}, this one is "
                f"{teacher_hash[:12]}); make D again with this teacher, or give the one it was made with"
            )
        missing = found.missing()
        if missing:
            raise UserError(
                f"{folder} is not complete: {len(missing)} of {len(found.plans)} shards are missing "
                f"(first {missing[0].file}); run `condistill cache RECIPE` again, it makes only those"
            )
        return found

    @classmethod
    def _read(cls, folder: Path) -> Cache:
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder} holds no cache: no {MANIFEST} in it; make one with `condistill cache RECIPE`")
        manifest = Manifest.from_json(read_json(folder / MANIFEST), where=str(folder / MANIFEST))
        try:
            text = (folder / PLAN).read_text(encoding="utf-8")
            rows = [(row["key"], row["seed"]) for row in map(json.loads, text.splitlines())]
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / PLAN} is damaged ({error}); make D again in another folder") from error
        if len(rows) != manifest.num_items:
            raise UserError(f"{folder / PLAN} has {len(rows)} rows, the manifest says {manifest.num_items} items")
        return cls(folder, manifest, rows)

    def __len__(self) -> int:
        return self.manifest.num_items

    @cached_property
    def keys(self) -> list[Key]:
        """The key of every item."""
        return [key for key, _ in self._rows]

    @cached_property
    def plans(self) -> list[ShardPlan]:
        """All shards."""
        size, total = self.manifest.shard_items, self.manifest.num_items
        return [ShardPlan(n, start, min(start + size, total)) for n, start in enumerate(range(0, total, size))]

    def missing(self) -> list[ShardPlan]:
        """Shards that are not on disk with their rows."""
        return [plan for plan in self.plans if shards.head(self.folder, plan) is None]

    def write_shard(self, number: int, latents: Tensor, bound: Mapping[str, Tensor] | None = None) -> None:
        """Puts a shard on disk.

        Args:
            number: of the shard.
            latents: (n, *latent) in the manifest's dtype.
            bound: path -> (n, ...).
        """
        plan = self.plans[number]
        keys, seeds = zip(*self._rows[plan.start : plan.stop], strict=True)
        shards.write(self.folder, plan, latents, bound or {}, keys=keys, seeds=seeds)

    def read(self, indices: np.ndarray | Sequence[int]) -> Batch:
        """The items at `indices`, in that order, x0 in float32.

        Raises:
            UserError: a damaged shard, by name.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"items 0 to {len(self) - 1}, got {wanted.min()} to {wanted.max()}")
        x0, bound = [], {}
        for index in wanted:
            latents, others = self._shard(int(index) // self.manifest.shard_items)
            row = int(index) % self.manifest.shard_items
            x0.append(latents[row])
            for path, value in others.items():
                bound.setdefault(path, []).append(value[row])
        return Batch(
            x0=torch.stack(x0).float(),
            keys=tuple(self._rows[int(index)][0] for index in wanted),
            bound={path: torch.stack(rows) for path, rows in bound.items()},
        )

    def _shard(self, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        plan = self.plans[number]
        if not shards.is_good(self.folder, plan):
            raise shards.damaged(self.folder / plan.file, "its checksum is wrong")
        found = shards.read(self.folder, plan, latent_shape=self.manifest.latent_shape)
        self._open[number] = found
        self._open_bytes += _bytes(found)
        while self._open_bytes > REMEMBERED_BYTES and len(self._open) > 1:
            self._open_bytes -= _bytes(self._open.popitem(last=False)[1])
        return found

    def verify(self) -> list[str]:
        """Files of damaged shards; every checksum is computed."""
        return [plan.file for plan in self.plans if not shards.is_good(self.folder, plan)]

    def repair(self) -> list[str]:
        """The damaged shards, now counted as missing, so that generating makes them again and no others."""
        found = [plan for plan in self.plans if not shards.is_good(self.folder, plan)]
        for plan in found:
            (self.folder / plan.rows_file).unlink(missing_ok=True)
            self._open.pop(plan.number, None)
        return [plan.file for plan in found]


def _bytes(shard: tuple[Tensor, dict[str, Tensor]]) -> int:
    return shard[0].nbytes + sum(value.nbytes for value in shard[1].values())
