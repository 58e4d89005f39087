"""Cache: D on disk, planned before its first item is made, read in any order."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condistill.cache import shards
from condistill.cache.batch import Batch
from condistill.cache.manifest import Manifest
from condistill.cache.shards import ShardPlan
from condistill.cache.values import plain, restored
from condistill.errors import UserError
from condistill.files import MIB, read_json, write_atomic, write_json
from condistill.maths.randomise import Key
from condistill.remote import RemoteFolder, is_url

MANIFEST, PLAN = "manifest.json", "plan.jsonl"
# a smaller D is checked shard by shard and kept in memory; a larger one is mapped and checked item by item
SMALL_BYTES = 256 * MIB
OPEN_AREAS = 32_768  # Linux maps 65,530 areas a process; each tensor of an open shard takes one


@dataclass(frozen=True)
class _Shard:
    """An open shard; `checksums` of each item, or None where the whole was checked."""

    latents: Tensor
    bound: dict[str, Tensor]
    checksums: np.ndarray | None


class Cache:
    """D: a folder of shards, a plan of all items and a manifest. Made by `create` or `open`, not by hand.

    Attributes:
        folder: where it is; one behind a URL is only read.
        manifest: how it is made.
    """

    def __init__(self, folder: Path | RemoteFolder, manifest: Manifest, rows: list[tuple[Key, int]]):
        self.folder, self.manifest, self._rows = folder, manifest, rows
        self._is_small = manifest.latent_bytes <= SMALL_BYTES
        self._id = manifest.id
        self._open: OrderedDict[int, _Shard] = OrderedDict()
        self._bound_kinds: dict[str, Any] | None = None

    @classmethod
    def create(cls, folder: str | Path, manifest: Manifest, keys: Sequence[Key], seeds: Sequence[int]) -> Cache:
        """The cache planned in `folder`; one that was begun there with the same plan is gone on with.

        Raises:
            UserError: the folder holds another cache, or files that are none of ours; nothing is overwritten.
        """
        folder = Path(folder)
        manifest.check()
        rows = [(_plain(key), int(seed)) for key, seed in zip(keys, seeds, strict=True)]
        if len(rows) != manifest.num_items:
            raise UserError(f"a cache of {manifest.num_items} items needs as many keys and seeds, got {len(rows)}")
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
        # ASCII: a prompt may hold U+2028 or half a surrogate pair
        write_atomic(folder / PLAN, "".join(json.dumps({"key": key, "seed": seed}) + "\n" for key, seed in rows))
        manifest = replace(manifest, created=manifest.created or f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        write_json(folder / MANIFEST, manifest.to_json())
        return cls._read(folder)

    @classmethod
    def open(cls, folder: str | Path, teacher_hash: str | None = None) -> Cache:
        """The finished cache in `folder`.

        Args:
            folder: a folder, or the URL of one (s3://, gs://, hf://): its shards are copied when they are first read.
            teacher_hash: refuse a cache of another teacher.

        Raises:
            UserError: no cache, one of another teacher, or one with items missing.
        """
        found = cls._read(RemoteFolder(str(folder)) if is_url(folder) else Path(folder))
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
    def _read(cls, folder: Path | RemoteFolder) -> Cache:
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder} holds no cache: no {MANIFEST} in it; make one with `condistill cache RECIPE`")
        manifest = Manifest.from_json(read_json(folder / MANIFEST), where=str(folder / MANIFEST))
        try:
            text = (folder / PLAN).read_text(encoding="utf-8")
            rows = [(row["key"], int(row["seed"])) for row in map(json.loads, text.split("\n")[:-1])]
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{folder / PLAN} is damaged ({error}); make D again in another folder") from error
        if len(rows) != manifest.num_items:
            raise UserError(f"{folder / PLAN} has {len(rows)} rows, the manifest says {manifest.num_items} items")
        return cls(folder, manifest, rows)

    def __len__(self) -> int:
        return self.manifest.num_items

    @cached_property
    def keys(self) -> list[Key]:
        """The key of every item."""
        return [restored(key) for key, _ in self._rows]

    @cached_property
    def plans(self) -> list[ShardPlan]:
        """All shards."""
        size, total = self.manifest.shard_items, self.manifest.num_items
        return [ShardPlan(n, start, min(start + size, total)) for n, start in enumerate(range(0, total, size))]

    def missing(self) -> list[ShardPlan]:
        """Shards that are not on disk whole, with their rows. Sizes are compared; `verify` computes checksums."""
        return [plan for plan in self.plans if shards.head(self.folder, plan, manifest_id=self._id) is None]

    def write_shard(self, number: int, latents: Tensor, bound: Mapping[str, Tensor] | None = None) -> None:
        """Puts a shard on disk.

        Args:
            number: of the shard.
            latents: (n, *latent) in the manifest's dtype, or in float32 where it does not hold them.
            bound: path -> (n, ...).

        Raises:
            UserError: tensors of another shape or dtype than planned, or no space left on the disk.
        """
        folder = self._own_folder()
        plan, bound = self.plans[number], bound or {}
        wanted = (plan.stop - plan.start, *self.manifest.latent_shape)
        dtypes = dict.fromkeys((self.manifest.dtype, "float32"))
        if tuple(latents.shape) != wanted or str(latents.dtype).removeprefix("torch.") not in dtypes:
            got = f"{latents.dtype} {tuple(latents.shape)}"
            raise UserError(f"shard {number} takes {' or '.join(dtypes)} latents {wanted}, got {got}")
        for path, value in bound.items():
            if not value.ndim or len(value) != wanted[0]:
                raise UserError(f"shard {number} takes {wanted[0]} rows of {path}, got shape {tuple(value.shape)}")
        keys, seeds = zip(*self._rows[plan.start : plan.stop], strict=True)
        shards.write(folder, plan, latents, bound, keys=keys, seeds=seeds, manifest_id=self._id)
        self._open.pop(number, None)

    def read(self, indices: np.ndarray | Sequence[int]) -> Batch:
        """The items at `indices`, in that order, x0 in float32.

        Raises:
            UserError: a damaged shard, by name.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"items 0 to {len(self) - 1}, got {wanted.min()} to {wanted.max()}")
        x0 = torch.empty((len(wanted), *self.manifest.latent_shape))
        bound: dict[str, Tensor] = {}
        numbers = wanted // self.manifest.shard_items
        for number in np.unique(numbers).tolist():
            places = torch.from_numpy(np.flatnonzero(numbers == number))
            rows = torch.from_numpy(wanted[numbers == number] - self.plans[number].start)
            shard = self._shard(number)
            self._check_items(number, shard, rows)
            x0[places] = shard.latents[rows].float()
            for path, value in shard.bound.items():
                if path not in bound:
                    bound[path] = value.new_empty((len(wanted), *value.shape[1:]))
                bound[path][places] = value[rows]
        return Batch(x0=x0, keys=tuple(self.keys[int(index)] for index in wanted), bound=bound)

    def _shard(self, number: int) -> _Shard:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        plan = self.plans[number]
        if self._is_small and not shards.is_good(self.folder, plan, manifest_id=self._id):
            raise shards.damaged(self.folder / plan.file, "its checksum is wrong")
        if shards.head(self.folder, plan, manifest_id=self._id) is None:
            raise shards.damaged(self.folder / plan.file, "its size is wrong, or its rows are gone")
        latents, bound = shards.read(self.folder, plan, latent_shape=self.manifest.latent_shape)
        if self._is_small:
            found = _Shard(latents.clone(), {path: value.clone() for path, value in bound.items()}, None)
        else:
            found = _Shard(latents, bound, shards.checksums(self.folder, plan))
        self._expect_same_bound(plan, bound)
        self._open[number] = found
        if not self._is_small and len(self._open) > max(1, OPEN_AREAS // (1 + len(bound))):
            self._open.popitem(last=False)
        return found

    def _expect_same_bound(self, plan: ShardPlan, bound: Mapping[str, Tensor]) -> None:
        """An error unless the shard binds the same arguments, of the same shape, as those read before it."""
        kinds = {path: (value.dtype, tuple(value.shape[1:])) for path, value in bound.items()}
        if self._bound_kinds is None:
            self._bound_kinds = kinds
        if kinds != self._bound_kinds:
            names = ", ".join(sorted(kinds)) or "nothing"
            raise shards.damaged(self.folder / plan.file, f"it binds {names} otherwise than the other shards")

    def _check_items(self, number: int, shard: _Shard, rows: Tensor) -> None:
        if shard.checksums is None:
            return
        for row in rows.tolist():
            if shards.crc32(shard.latents, shard.bound, row) != shard.checksums[row]:
                plan = self.plans[number]
                raise shards.damaged(self.folder / plan.file, f"the checksum of item {plan.start + row} is wrong")

    def verify(self) -> list[str]:
        """Files of damaged or missing shards; every checksum is computed."""
        return [plan.file for plan in self._damaged()]

    def repair(self) -> list[str]:
        """The damaged shards, now counted as missing, so that generating makes them again and no others."""
        folder, found = self._own_folder(), self._damaged()
        for plan in found:
            (folder / plan.rows_file).unlink(missing_ok=True)
            self._open.pop(plan.number, None)
        return [plan.file for plan in found]

    def _own_folder(self) -> Path:
        """The folder, to write into.

        Raises:
            UserError: it is behind a URL.
        """
        if isinstance(self.folder, RemoteFolder):
            raise UserError(
                f"{self.folder} is behind a URL and only read; make or repair D in a folder and copy it there"
            )
        return self.folder

    def _damaged(self) -> list[ShardPlan]:
        return [plan for plan in self.plans if not shards.is_good(self.folder, plan, manifest_id=self._id)]


def _plain(key: Key) -> Key:
    """The key as it comes back from the plan."""
    try:
        return json.loads(json.dumps(plain(key), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UserError(
            "a key of a cache must be text, a number or a mapping of such, of pictures and of tensors, got "
            f"{key!r:.80} ({error})"
        ) from None
