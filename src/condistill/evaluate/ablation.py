"""The results of a grid of runs: what each cell scored, and mean and interval over training seeds.

The intervals here are those of training again with another seed, which the intervals inside one run do not cover.

>>> spread = over_seeds([0.8, 0.9, 1.0])
>>> round(spread.mean, 2), round(spread.low, 2), round(spread.high, 2)
(0.9, 0.65, 1.15)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.evaluate.ablation_json import FILE, cell_fields, cell_json, groups_json, refuse_misfits, row_json, texts
from condistill.evaluate.protocol_record import checked_protocol
from condistill.evaluate.results import ModelResult
from condistill.files import read_json
from condistill.reading import listed, mapping, optional, text, whole

SCHEMA = 1
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Numbers of several training seeds: the mean and its 95 % interval by Student's t; None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The spread as JSON types."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "values": list(self.values)}


Spreads = Mapping[str, Mapping[str, Spread]]  # group -> metric -> spread


def over_seeds(values: Sequence[float], *, least: float = -math.inf, most: float = math.inf) -> Spread:
    """Mean and interval of one number over seeds; the interval ends where no value can lie.

    >>> over_seeds([0.8, 0.9, 1.0], most=1.0).high
    1.0
    """
    mean, count = statistics.fmean(values), len(values)
    if count < 2:
        return Spread(mean, None, None, tuple(values))
    from scipy import stats

    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return Spread(mean, max(mean - half, least), min(mean + half, most), tuple(values))


@dataclass(frozen=True)
class CellResult:
    """One cell of the grid.

    Attributes:
        name: of its run folder.
        labels: axis -> the value's label.
        seed: of its training.
        models: its trained students with their scores; empty while the cell is not done.
        train_seconds: how long they were trained in all.
    """

    name: str
    labels: Mapping[str, str]
    seed: int
    models: tuple[ModelResult, ...] = ()
    train_seconds: float | None = None


@dataclass(frozen=True)
class Row:
    """One combination of values over its seeds.

    Attributes:
        labels: axis -> label.
        model: the student's name; more than one where cells hold comparisons.
        seeds: those that are done.
        groups: group -> metric -> spread.
        by_time: group -> metric -> one (u, spread) per noise level, for metrics that have them.
        parameters, macs: of the student.
    """

    labels: Mapping[str, str]
    model: str
    seeds: tuple[int, ...]
    groups: Spreads
    by_time: Mapping[str, Mapping[str, Sequence[tuple[float, Spread]]]]
    parameters: int | None
    macs: Mapping[str, int] | None


@dataclass(frozen=True)
class Difference:
    """A combination minus the one with the first value on the first axis, paired by seed."""

    labels: Mapping[str, str]
    baseline: Mapping[str, str]
    model: str
    groups: Spreads


@dataclass(frozen=True)
class Ablation:
    """A grid and what is known of it so far.

    Attributes:
        recipe, overrides: what every cell is made from.
        axes: key -> labels of its values, in order.
        seeds: training seeds.
        cells: all cells, done or not.
        teacher: the teacher's scores; None before the first cell is done.
        protocol: how it was measured, as in results.json.
        machines: the kinds of machine that measured.
    """

    recipe: str
    overrides: tuple[str, ...]
    axes: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    cells: tuple[CellResult, ...]
    teacher: ModelResult | None = None
    protocol: Mapping[str, Any] | None = None
    machines: tuple[str, ...] = ()

    def rows(self) -> list[Row]:
        """One row per combination and student, in the order of the grid; combinations without a finished cell are
        left out."""
        found: dict[tuple[str, ...], list[tuple[CellResult, ModelResult]]] = {}
        for cell in self.cells:
            for model in cell.models:
                found.setdefault((*cell.labels.values(), model.name), []).append((cell, model))
        return [_row(members, self._units) for members in found.values()]

    @property
    def _units(self) -> dict[str, str]:
        """Metric -> its unit, as far as the protocol says."""
        return {name: about.get("unit", "") for name, about in (self.protocol or {}).get("metrics", {}).items()}

    def differences(self) -> list[Difference]:
        """Every row against the row with the first value of the first axis and the same others, on shared seeds."""
        if not self.axes:
            return []
        first, labels = next(iter(self.axes.items()))
        by_place = {(*cell.labels.values(), cell.seed): cell for cell in self.cells if cell.models}
        found = []
        for row in self.rows():
            base = {**row.labels, first: labels[0]}
            seeds = [s for s in row.seeds if (*base.values(), s) in by_place]
            if row.labels[first] == labels[0] or not seeds:
                continue
            own = [_model(by_place[(*row.labels.values(), s)], row.model) for s in seeds]
            theirs = [_model(by_place[(*base.values(), s)], row.model) for s in seeds]
            pairs = [(a, b) for a, b in zip(own, theirs, strict=True) if a is not None and b is not None]
            if pairs:
                groups = _spreads([a for a, _ in pairs], self._units, minus=[b for _, b in pairs])
                found.append(Difference(row.labels, base, row.model, groups))
        return found

    def to_json(self) -> dict[str, Any]:
        """The object of ablation.json."""
        return {
            "schema": SCHEMA,
            "recipe": self.recipe,
            "overrides": list(self.overrides),
            "axes": {key: list(labels) for key, labels in self.axes.items()},
            "seeds": list(self.seeds),
            "machines": list(self.machines),
            "protocol": None if self.protocol is None else dict(self.protocol),
            "teacher": None if self.teacher is None else self.teacher.to_json(),
            "rows": [row_json(row) for row in self.rows()],
            "differences": [
                {
                    "values": dict(d.labels),
                    "baseline": dict(d.baseline),
                    "model": d.model,
                    "groups": groups_json(d.groups),
                }
                for d in self.differences()
            ],
            "cells": [cell_json(cell) for cell in self.cells],
        }

    @classmethod
    def from_json(cls, obj: Any) -> Ablation:
        """The ablation that `to_json` wrote; rows and differences follow from the cells.

        Raises:
            UserError: another schema, parts are missing, or they are not what they should be.
        """
        if not isinstance(obj, Mapping) or obj.get("schema") != SCHEMA:
            got = obj.get("schema") if isinstance(obj, Mapping) else type(obj).__name__
            raise UserError(f"{FILE} has schema {got!r}, wanted {SCHEMA}; run condistill ablate again")
        try:
            cells = tuple(
                CellResult(**cell_fields(one, f"{FILE}: cells[{k}]"))
                for k, one in enumerate(listed(obj["cells"], FILE))
            )
            axes = {key: texts(labels, f"{FILE}: axes.{key}") for key, labels in mapping(obj["axes"], FILE).items()}
            found = cls(
                text(obj["recipe"], f"{FILE}: recipe"), texts(obj["overrides"], f"{FILE}: overrides"), axes,
                tuple(whole(seed, f"{FILE}: seeds") for seed in listed(obj["seeds"], f"{FILE}: seeds")), cells,
                optional(ModelResult.from_json, obj["teacher"], f"{FILE}: teacher"),
                optional(checked_protocol, obj["protocol"], f"{FILE}: protocol"),
                texts(obj["machines"], f"{FILE}: machines"),
            )  # fmt: skip
            refuse_misfits(found)
        except (KeyError, IndexError) as error:
            raise UserError(f"{FILE} is incomplete (at {error}); run condistill ablate again") from error
        return found

    @classmethod
    def load(cls, folder: str | Path) -> Ablation:
        """The ablation in a grid's folder."""
        return cls.from_json(read_json(Path(folder) / FILE))


def _model(cell: CellResult, name: str) -> ModelResult | None:
    return next((model for model in cell.models if model.name == name), None)


def _row(members: Sequence[tuple[CellResult, ModelResult]], units: Mapping[str, str]) -> Row:
    (cell, model), models = members[0], [model for _, model in members]
    return Row(
        labels=cell.labels,
        model=model.name,
        seeds=tuple(one.seed for one, _ in members),
        groups=_spreads(models, units),
        by_time=_by_time(models),
        parameters=model.parameters,
        macs=model.macs,
    )


def _spreads(models: Sequence[ModelResult], units: Mapping[str, str], *, minus: Sequence[ModelResult] = ()) -> Spreads:
    """Group -> metric -> spread of the scores, or of their differences to those of `minus`."""
    found: dict[str, dict[str, Spread]] = {}
    for group, scores in models[0].groups.items():
        for name in scores:
            values = [model.groups[group][name].value for model in models]
            others = [model.groups[group][name].value for model in minus] or [0.0] * len(values)
            # a share lies in [0, 1], a difference of two in [-1, 1]
            least, most = (-1.0 if minus else 0.0, 1.0) if units.get(name) == "share" else (-math.inf, math.inf)
            spread = over_seeds([a - b for a, b in zip(values, others, strict=True)], least=least, most=most)
            found.setdefault(group, {})[name] = spread
    return found


def _by_time(models: Sequence[ModelResult]) -> dict[str, dict[str, list[tuple[float, Spread]]]]:
    found: dict[str, dict[str, list[tuple[float, Spread]]]] = {}
    for group, scores in models[0].groups.items():
        for name, score in scores.items():
            levels = [[level["value"] for level in model.groups[group][name].by_time] for model in models]
            if score.by_time:
                rows = zip(score.by_time, zip(*levels, strict=True), strict=True)
                found.setdefault(group, {})[name] = [(level["u"], over_seeds(values)) for level, values in rows]
    return found
