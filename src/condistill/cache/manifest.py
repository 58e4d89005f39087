"""Manifest: how a cache D was made, and whether two of them are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from condistill.cache.values import named, plain, restored
from condistill.errors import UserError, unknown_name
from condistill.reading import mapping, text, whole

SCHEMA = 1
ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
# may differ between two starts of one cache: they do not change an item
FREE_TO_CHANGE = ("versions", "created", "schema")


@dataclass(frozen=True)
class Manifest:
    """What decides every item of D.

    Attributes:
        teacher: the teacher's hash.
        pipeline: its pipeline's class.
        call: the pipeline's own arguments.
        seed: that the items' seeds were drawn from.
        num_items, shard_items: items in all, and per file.
        latent_shape: of one x0.
        dtype: of the stored latents, where it holds them.
        noise: the noise path and the scheduler's class.
        versions: of the libraries that made it.
        created: UTC time of the first start; put in by Cache.create.
        schema: of this record.
    """

    teacher: str
    pipeline: str
    call: Mapping[str, Any]
    seed: int
    num_items: int
    shard_items: int
    latent_shape: tuple[int, ...]
    dtype: str = "float16"
    noise: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """The manifest as plain JSON types; pictures and tensors among the call arguments are written out."""
        return {one.name: plain(getattr(self, one.name), named) for one in dataclasses.fields(self)}

    @staticmethod
    def from_json(found: Any, *, where: str) -> Manifest:
        """The manifest that `to_json` wrote.

        Raises:
            UserError: not a manifest, or one of a newer version.
        """
        if not isinstance(found, Mapping) or not isinstance(found.get("schema"), int):
            raise UserError(f"{where} is no manifest of a cache; make D again in another folder")
        if found["schema"] > SCHEMA:
            raise UserError(
                f"{where} has schema {found['schema']}, this version reads up to {SCHEMA}; update condistill"
            )
        try:
            manifest = Manifest(
                **{**found, "latent_shape": tuple(found["latent_shape"]), "call": restored(found["call"])}
            )
        except (TypeError, KeyError) as error:
            raise UserError(f"{where} is not complete ({error}); make D again in another folder") from error
        for name in ("teacher", "pipeline", "dtype", "created"):
            text(getattr(manifest, name), f"{where}: {name}")
        for name in ("call", "noise", "versions"):
            mapping(getattr(manifest, name), f"{where}: {name}")
        whole(manifest.seed, f"{where}: seed")
        manifest.check(where)
        return manifest

    def check(self, where: str = "the manifest") -> None:
        """Nothing, if its numbers can be those of a cache, and its call can be written down.

        Raises:
            UserError: they cannot.
        """
        for name, value in self.call.items():
            try:
                plain(value)
            except TypeError as error:  # of a callback or a generator: a cache that is gone on with would lack it
                raise UserError(
                    f"{where} cannot say {name} of the call: {error}; leave it out (seed= decides the random numbers)"
                ) from error
        counts = {"num_items": self.num_items, "shard_items": self.shard_items}
        counts |= {f"latent_shape[{k}]": size for k, size in enumerate(self.latent_shape)}
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{where}: {name} must be a whole number, at least 1, got {value!r}")
        if self.dtype not in ITEM_BYTES:
            raise unknown_name(f"dtype in {where}", str(self.dtype), ITEM_BYTES)

    @property
    def latent_bytes(self) -> int:
        """Bytes of all latents together."""
        return self.num_items * math.prod(self.latent_shape) * ITEM_BYTES[self.dtype]

    @property
    def id(self) -> str:
        """16 hex digits that two caches share only if they were made alike."""
        fixed = {name: value for name, value in self.to_json().items() if name not in FREE_TO_CHANGE}
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: Manifest) -> list[str]:
        """ "name: ours then, theirs now" for each field that decides the items."""
        ours, theirs = self.to_json(), other.to_json()
        names = [name for name in ours if name not in FREE_TO_CHANGE and ours[name] != theirs[name]]
        return [f"{name}: {_short(ours[name])} then, {_short(theirs[name])} now" for name in names]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
