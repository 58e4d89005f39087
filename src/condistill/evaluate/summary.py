"""From material to results: every metric of every model and group, paired differences, and the protocol's record."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from condistill.errors import unknown_name
from condistill.evaluate import costs
from condistill.evaluate.backbones import Backbone
from condistill.evaluate.items import Items
from condistill.evaluate.judging import Judging
from condistill.evaluate.metrics import Material, Measured, Metric, describe
from condistill.evaluate.pictures import FILTER
from condistill.evaluate.results import Comparison, ModelResult, Score, protocol_hash
from condistill.maths.randomise import Key
from condistill.pictures import Pictures
from condistill.versions import versions

if TYPE_CHECKING:
    from condistill.teacher import Teacher

BASELINES = ("without", "baseline", "plain")  # names that an arm to compare against usually has

Scores = Mapping[str, Mapping[str, Measured]]  # group -> metric -> measured


def measure(metrics: Sequence[Metric], materials: Mapping[str, Material]) -> Scores:
    """Group -> metric -> what one model measured."""
    return {group: {m.name: m.compute(material) for m in metrics} for group, material in materials.items()}


def model_result(
    name: str,
    model: Teacher,
    scores: Scores,
    call: Mapping[str, Any],
    own: Mapping[str, Any],
    key: Key,
    latency: bool,
) -> ModelResult:
    """One model's scores and costs; `key` is the prompt that is timed, `own` its call where that is not the others'."""
    return ModelResult(
        name=name,
        groups={group: {m: found.score for m, found in by_name.items()} for group, by_name in scores.items()},
        parameters=costs.parameters(model),
        macs=costs.macs(model, key),
        latency_seconds=costs.latency_seconds(model, key, own) if latency else None,
        own_call={name: _plain(value) for name, value in own.items() if name not in call or call[name] != value},
    )


def check_baseline(models: Iterable[str], teacher: str, baseline: str | None) -> None:
    """Nothing, if `baseline` is the name of a student or not given.

    Raises:
        UserError: no student has that name.
    """
    students = [name for name in models if name != teacher]
    if baseline is not None and baseline not in students:
        raise unknown_name("baseline", baseline, students)


def compare(measured: Mapping[str, Scores], *, teacher: str, baseline: str | None) -> tuple[Comparison, ...]:
    """Every other student minus the baseline student, on shared items; nothing with fewer than two students.

    Args:
        measured: model -> its scores.
        teacher: is compared with nobody: distances to it are the metrics themselves.
        baseline: a student's name; else one with a baseline's usual name, else the first.
    """
    students = [name for name in measured if name != teacher]
    if len(students) < 2:
        return ()
    against = baseline or next((name for name in BASELINES if name in students), students[0])
    others = [name for name in students if name != against]
    return tuple(
        Comparison(
            name,
            against,
            {
                group: {m: difference(found, measured[against][group][m]) for m, found in by_name.items()}
                for group, by_name in measured[name].items()
            },
        )
        for name in others
    )


def difference(a: Measured, b: Measured) -> Score:
    """a minus b with the interval of the paired bootstrap: both were resampled alike.

    The spread of the resampled differences is laid around the measured one, so that the bias that resampling adds to
    distances drops out.
    """
    value = a.score.value - b.score.value
    spread = a.resampled - b.resampled
    low, high = value + np.quantile(spread - spread.mean(), [0.025, 0.975])
    return Score(value, float(low), float(high), a.score.n)


def protocol_record(
    name: str,
    *,
    seed: int,
    call: Mapping[str, Any],
    batch: int,
    groups: Sequence[Items],
    metrics: Sequence[Metric],
    judging: Judging | None,
    teacher: Teacher,
    reference: str | Mapping[str, str] | None,
    backbones: Sequence[Backbone],
    size: int | None,
) -> dict[str, Any]:
    """How the numbers were measured, as JSON types; `hash` is equal for what may stand in one column."""
    record = {
        "name": name,
        "seeds": [seed],
        "call": {key: _plain(value) for key, value in call.items()},
        "batch": batch,
        "n": {items.group: len(items) for items in groups},
        "distinct_prompts": {items.group: len({str(key) for key in items.keys}) for items in groups},
        "pipeline": type(teacher.pipeline).__name__,
        "scheduler": type(teacher.scheduler).__name__,
        "scheduler_config": _settings(teacher.scheduler.config),
        "prompts": _digest([[list(items.keys), items.seeds, items.reference_seeds] for items in groups]),
        "image": {"size": size, "filter": FILTER} if size else None,
        "backbones": {backbone.name: dict(backbone.identity) for backbone in backbones},
        "teacher": teacher.hash,
        "judge": judging.identity if judging else None,
        "reference": reference,
        "interval": "95 %, over prompts and seeds of the images, for these weights; not over training seeds",
        "metrics": {m.name: describe(m) for m in metrics},
        "versions": versions(),
        "machine": _machine(teacher),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return {**record, "hash": protocol_hash(record)}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's config without what diffusers notes for itself, as JSON types; infinities are the words of them."""
    own = {name: value for name, value in config.items() if not name.startswith("_")}
    return json.loads(json.dumps(own, default=str), parse_constant=str)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Pictures):
        return str(value)
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(type(value).__name__)


def _machine(teacher: Teacher) -> dict[str, Any]:
    device = teacher.device
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": device.type, "kind": kind, "threads": torch.get_num_threads()}
