"""Probes, one file each: a module of this folder with a `PROBE` is a probe of that name.

To add one, put a file here, or name your own by its dotted path (`my_lab.probes.PROBE`, an object or a class).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from condistill.cache.batch import Batch
from condistill.dotted import imported
from condistill.errors import UserError, unknown_name
from condistill.maths.randomise import Key


@dataclass(frozen=True)
class Material:
    """What a probe may use: a teacher and r of its samples for each of m keys.

    Attributes:
        teacher: a Teacher, recorded with `call`.
        keys: m different keys.
        latents: (m, r, *latent) float32, x0 of the samples.
        bound: path -> (m, r, ...): what belongs to each x0.
        call: the pipeline's own arguments that they were sampled with.
        seed: of everything that the probe draws.
    """

    teacher: Any
    keys: tuple[Key, ...]
    latents: Float[Tensor, "m r *latent"]
    bound: Mapping[str, Tensor]
    call: Mapping[str, Any]
    seed: int

    def first(self) -> Batch:
        """One sample of each key, as items of D."""
        return Batch(self.latents[:, 0], self.keys, {path: rows[:, 0] for path, rows in self.bound.items()})


@dataclass(frozen=True)
class Curve:
    """A line of a chart, with its interval where it has one."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Chart:
    """Curves over the noise level u."""

    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Pictures:
    """A grid of images: one row of (columns, h, w, 3), 8 bit, per label."""

    columns: tuple[str, ...]
    rows: Mapping[str, UInt8[np.ndarray, "c h w 3"]]


@dataclass(frozen=True)
class Finding:
    """What a probe found.

    Attributes:
        values: JSON types.
        table: rows of text, the header first.
        charts, pictures: to be drawn; none is fine.
    """

    values: Mapping[str, Any]
    table: Sequence[Sequence[str]]
    charts: tuple[Chart, ...] = ()
    pictures: Pictures | None = field(default=None)


@runtime_checkable
class Probe(Protocol):
    """A probe.

    Attributes:
        name: as on the command line.
        label: for people.
    """

    name: str
    label: str

    def parts(self, material: Material) -> int:
        """How often `ask` will call `advance`, at most; for the progress."""
        ...

    def ask(self, material: Material, advance: Callable[[int], None]) -> Finding:
        """The answer; `advance` is called now and then."""
        ...


def probe_names() -> list[str]:
    """The names of the probes in this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def probe(name: str) -> Probe:
    """The probe of that name, or the object behind a dotted name.

    Raises:
        UserError: unknown (the nearest name is suggested), not importable, or no probe.
    """
    if "." not in name:
        if name not in probe_names():
            raise unknown_name("probe", name, probe_names())
        return importlib.import_module(f"{__name__}.{name}").PROBE
    found = imported("probe", name)
    made = found() if isinstance(found, type) and hasattr(found, "ask") else found
    if not isinstance(made, Probe):
        raise UserError(f"probe {name!r} must have name, label, parts(material) and ask(material, advance)")
    return made
