"""Results as values: what results.json holds, read and written, version 1.

>>> score = Score(value=0.5, low=0.4, high=0.6, n=80)
>>> results = Results({}, (ModelResult("with", {"unseen": {"concept_accuracy": score}}),))
>>> Results.from_json(results.to_json()).model("with").groups["unseen"]["concept_accuracy"].value
0.5
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from condistill.errors import UserError, unknown_name
from condistill.evaluate.protocol_record import DECIDES, checked_protocol, protocol_hash
from condistill.files import read_json
from condistill.reading import listed, mapping, number, optional, text, whole

SCHEMA = 1


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
    def from_json(cls, obj: Any, where: str) -> Score:
        """The score that `to_json` wrote."""
        obj = mapping(obj, where)
        value, low, high = (number(obj[key], f"{where}.{key}") for key in ("value", "low", "high"))
        by_time, by_tap = (listed(obj.get(key, ()), f"{where}.{key}") for key in ("by_time", "by_tap"))
        for level in (*by_time, *by_tap):
            for key in ("value", "low", "high"):
                number(mapping(level, where)[key], f"{where}, by noise level or tap, {key}")
        for level in by_time:
            number(level["u"], f"{where}.by_time.u")
        return cls(value, low, high, whole(obj["n"], f"{where}.n"), tuple(by_time), tuple(by_tap))


Groups = Mapping[str, Mapping[str, Score]]


def _groups_to_json(groups: Groups) -> dict[str, Any]:
    return {group: {name: score.to_json() for name, score in scores.items()} for group, scores in groups.items()}


def _groups_from_json(obj: Any, where: str) -> Groups:
    return {
        text(group, where): {
            text(name, where): Score.from_json(score, f"{where}.{group}.{name}")
            for name, score in mapping(scores, f"{where}.{group}").items()
        }
        for group, scores in mapping(obj, where).items()
    }


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
        own_call: the arguments that it alone was called with, beside the protocol's.
    """

    name: str
    groups: Groups
    parameters: int | None = None
    macs: Mapping[str, int] | None = None
    latency_seconds: float | None = None
    own_call: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The model's part of results.json."""
        return {
            "name": self.name,
            "groups": _groups_to_json(self.groups),
            "parameters": self.parameters,
            "macs": None if self.macs is None else dict(self.macs),
            "latency_seconds": self.latency_seconds,
            **({"call": dict(self.own_call)} if self.own_call else {}),
        }

    @classmethod
    def from_json(cls, obj: Any, where: str) -> ModelResult:
        """The model that `to_json` wrote."""
        obj = mapping(obj, where)
        macs = optional(mapping, obj.get("macs"), f"{where}.macs")
        for key, value in (macs or {}).items():
            number(value, f"{where}.macs.{key}")
        return cls(
            text(obj["name"], f"{where}.name"),
            _groups_from_json(obj["groups"], f"{where}.groups"),
            optional(whole, obj.get("parameters"), f"{where}.parameters"),
            macs,
            optional(number, obj.get("latency_seconds"), f"{where}.latency_seconds"),
            mapping(obj.get("call", {}), f"{where}.call"),
        )


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
    def from_json(cls, obj: Any, where: str) -> Comparison:
        """The comparison that `to_json` wrote."""
        obj = mapping(obj, where)
        model, baseline = (text(obj[key], f"{where}.{key}") for key in ("model", "baseline"))
        return cls(model, baseline, _groups_from_json(obj["groups"], f"{where}.groups"))


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
    def from_json(cls, obj: Any, where: str = "results") -> Results:
        """The results in an object of schema 1; `where` it is, for messages.

        Raises:
            UserError: another schema, parts are missing, or they are not what they should be.
        """
        if not isinstance(obj, Mapping) or obj.get("schema") != SCHEMA:
            got = obj.get("schema") if isinstance(obj, Mapping) else type(obj).__name__
            raise UserError(f"{where} have schema {got!r}, wanted {SCHEMA}; evaluate again with this version")
        try:
            listing = listed(obj["models"], f"{where}: models")
            models = tuple(ModelResult.from_json(m, f"{where}: models[{k}]") for k, m in enumerate(listing))
            compared = listed(obj.get("comparisons", ()), f"{where}: comparisons")
            comparisons = tuple(Comparison.from_json(c, f"{where}: comparisons[{k}]") for k, c in enumerate(compared))
            protocol = checked_protocol(obj["protocol"], f"{where}: protocol")
        except KeyError as error:
            raise UserError(f"{where} are incomplete (at {error}); evaluate again") from error
        if not models:
            raise UserError(f"{where} are incomplete (no models); evaluate again")
        return cls(protocol, models, comparisons)

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """The results of a results.json, or of a run folder that holds one."""
        path = Path(path)
        path = path / "results.json" if path.is_dir() else path
        return cls.from_json(read_json(path), str(path))

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
            differing = [key for key in DECIDES if other.protocol.get(key) != first.protocol.get(key)]
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
