"""Results as values: what results.json holds, read and written, version 1.

>>> score = Score(value=0.5, low=0.4, high=0.6, n=80)
>>> results = Results({}, (ModelResult("with", {"unseen": {"concept_accuracy": score}}),))
>>> Results.from_json(results.to_json()).model("with").groups["unseen"]["concept_accuracy"].value
0.5
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from condistill.errors import UserError, unknown_name
from condistill.files import read_json

SCHEMA = 1

# what must be equal for numbers to stand in one column; what an older record does not say is as good as None
_DECIDES = (
    "name", "seeds", "call", "n", "prompts", "teacher", "judge", "reference", "scheduler", "scheduler_config", "image",
    "backbones",
)  # fmt: skip


def protocol_hash(protocol: Mapping[str, Any]) -> str:
    """A hash of all in a protocol's record that decides the numbers; metrics, versions and machine are left out.

    >>> protocol_hash({"n": {"all": 8}, "created": "today"}) == protocol_hash({"n": {"all": 8}})
    True
    """
    # a backbone is its weights and its input, wherever the weights lay
    networks = {
        name: {key: value for key, value in about.items() if key != "weights"}
        for name, about in (protocol.get("backbones") or {}).items()
    }
    decides = {**{key: protocol.get(key) for key in _DECIDES}, "backbones": networks}
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Score:
    """A measured number with its 95 % interval.

    Attributes:
        value, low, high: the number and the ends of its interval, in the metric's unit.
        n: the number of items (images) behind it.
        by_time: for metrics that depend on the noise level, one mapping of u, value, low, high per level.
        by_tap: for metrics of features inside the network, one mapping of tap, value, low, high per tap.
    """

    value: float
    low: float
    high: float
    n: int
    by_time: tuple[Mapping[str, float], ...] = ()
    by_tap: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The score as JSON types; `by_time` and `by_tap` only where there are any."""
        plain = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        parts = {"by_time": self.by_time, "by_tap": self.by_tap}
        return {**plain, **{name: [dict(each) for each in part] for name, part in parts.items() if part}}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Score:
        """The score that `to_json` wrote."""
        by_time, by_tap = tuple(obj.get("by_time", ())), tuple(obj.get("by_tap", ()))
        return cls(obj["value"], obj["low"], obj["high"], obj["n"], by_time, by_tap)


Groups = Mapping[str, Mapping[str, Score]]


def _groups_to_json(groups: Groups) -> dict[str, Any]:
    return {group: {name: score.to_json() for name, score in scores.items()} for group, scores in groups.items()}


def _groups_from_json(obj: Mapping[str, Any]) -> Groups:
    return {group: {name: Score.from_json(s) for name, s in scores.items()} for group, scores in obj.items()}


@dataclass(frozen=True)
class ModelResult:
    """What one model scored and what it costs.

    Attributes:
        name: as the caller gave it.
        groups: group -> metric -> score.
        parameters: of the denoiser.
        macs: of one pass of the denoiser for one item: "conv_linear" (the papers' convention) and "total" (with the
            attention products); None where they could not be counted.
        latency_seconds: one image through the pipeline at batch 1; None where it was not measured.
    """

    name: str
    groups: Groups
    parameters: int | None = None
    macs: Mapping[str, int] | None = None
    latency_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The model's part of results.json."""
        return {
            "name": self.name,
            "groups": _groups_to_json(self.groups),
            "parameters": self.parameters,
            "macs": None if self.macs is None else dict(self.macs),
            "latency_seconds": self.latency_seconds,
        }

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> ModelResult:
        """The model that `to_json` wrote."""
        groups = _groups_from_json(obj["groups"])
        return cls(obj["name"], groups, obj.get("parameters"), obj.get("macs"), obj.get("latency_seconds"))


@dataclass(frozen=True)
class Comparison:
    """The paired difference of two models: `model` minus `baseline`, on the same prompts and seeds.

    Attributes:
        groups: group -> metric -> the difference, its interval by resampling the shared items.
    """

    model: str
    baseline: str
    groups: Groups

    def to_json(self) -> dict[str, Any]:
        """The comparison's part of results.json."""
        return {"model": self.model, "baseline": self.baseline, "groups": _groups_to_json(self.groups)}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Comparison:
        """The comparison that `to_json` wrote."""
        return cls(obj["model"], obj["baseline"], _groups_from_json(obj["groups"]))


@dataclass(frozen=True)
class Results:
    """All that one evaluation found.

    Attributes:
        protocol: how it was measured (name, seeds, call, n by group, versions, metrics' labels, ...).
        models: the teacher first, then the students in the caller's order.
        comparisons: students against the baseline student, pairwise on shared items.
    """

    protocol: Mapping[str, Any]
    models: tuple[ModelResult, ...]
    comparisons: tuple[Comparison, ...] = field(default=())

    def model(self, name: str) -> ModelResult:
        """The model of that name.

        Raises:
            UserError: there is none; the nearest name is suggested.
        """
        for found in self.models:
            if found.name == name:
                return found
        raise unknown_name("model", name, [m.name for m in self.models])

    @property
    def hash(self) -> str:
        """Equal for two results if and only if their numbers may stand in one column."""
        return protocol_hash(self.protocol)

    def to_json(self) -> dict[str, Any]:
        """The object of results.json, schema 1."""
        return {
            "schema": SCHEMA,
            "protocol": dict(self.protocol),
            "models": [model.to_json() for model in self.models],
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
        }

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Results:
        """The results in an object of schema 1.

        Raises:
            UserError: another schema, or parts are missing.
        """
        if not isinstance(obj, Mapping) or obj.get("schema") != SCHEMA:
            got = obj.get("schema") if isinstance(obj, Mapping) else type(obj).__name__
            raise UserError(f"results have schema {got!r}, wanted {SCHEMA}; evaluate again with this version")
        try:
            models = tuple(ModelResult.from_json(m) for m in obj["models"])
            comparisons = tuple(Comparison.from_json(c) for c in obj.get("comparisons", ()))
            return cls(dict(obj["protocol"]), models, comparisons)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"results are incomplete (at {error}); evaluate again") from error

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """The results of a results.json, or of a run folder that holds one."""
        path = Path(path)
        return cls.from_json(read_json(path / "results.json" if path.is_dir() else path))

    def table(self) -> list[list[str]]:
        """Rows of text for a terminal, the header first: one row per model and group."""
        names = list(self.protocol.get("metrics", {})) or _metrics_of(self.models)
        rows = [["model", "group", *names]]
        for model in self.models:
            for group, scores in model.groups.items():
                cells = [format_score(scores[name]) if name in scores else "-" for name in names]
                rows.append([model.name, group, *cells])
        return rows


def joined(results: Sequence[Results], names: Sequence[str]) -> Results:
    """Several evaluations by one protocol as one: the teacher once, and every student as `run / student`.

    Args:
        results: what the runs found.
        names: the runs' names.

    Raises:
        UserError: two of them were measured by different protocols; their numbers do not belong into one column.
    """
    first = results[0]
    for name, other in zip(names, results, strict=True):
        if other.hash != first.hash:
            differing = [key for key in _DECIDES if other.protocol.get(key) != first.protocol.get(key)]
            raise UserError(
                f"{names[0]} and {name} were measured by different protocols ({', '.join(differing)}); evaluate them "
                "alike to put them into one table"
            )
    metrics = {key: about for each in results for key, about in each.protocol.get("metrics", {}).items()}
    students = [
        replace(model, name=f"{name} / {model.name}")
        for name, each in zip(names, results, strict=True)
        for model in each.models[1:]
    ]
    return Results({**first.protocol, "metrics": metrics}, (first.models[0], *students))


def _metrics_of(models: tuple[ModelResult, ...]) -> list[str]:
    found: dict[str, None] = {}
    for model in models:
        for scores in model.groups.values():
            found.update(dict.fromkeys(scores))
    return list(found)


def format_number(value: float) -> str:
    """Three significant digits, plainly.

    >>> format_number(0.98765), format_number(1234.5), format_number(0.00123), format_number(0)
    ('0.988', '1234', '0.00123', '0')
    """
    return f"{value:.0f}" if value == 0 or abs(value) >= 1000 else f"{value:.3g}"


def format_score(score: Score) -> str:
    """Value and interval.

    >>> format_score(Score(0.5, 0.4, 0.6, 80))
    '0.5 [0.4, 0.6]'
    """
    return f"{format_number(score.value)} [{format_number(score.low)}, {format_number(score.high)}]"
