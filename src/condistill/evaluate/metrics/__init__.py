"""Metrics, one file each: a module of this folder with a `METRIC` is a metric of that name.

To add one, put a file here, or name your own by its dotted path (`my_lab.metrics.sharpness`, an object or a class).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from condistill.dotted import imported
from condistill.errors import UserError, unknown_name
from condistill.evaluate.results import Score
from condistill.maths.distances import Gaussian, resamples
from condistill.maths.randomise import Key

NUM_RESAMPLES = 1000

View = np.ndarray | Gaussian  # features (m, d) of reference images, or all that is known of them


@dataclass(frozen=True)
class Material:
    """What one model did on one group of n items: all that a metric may look at.

    What no metric of the evaluation needs is None.

    Attributes:
        keys: the n conditions; item k has the same condition and seed for every model.
        concept, colour: (n,) what the condition asks for, as the world's numbers.
        judged_concept, judged_colour: (n,) what the judge saw.
        features: (n, d) the judge's features of the images.
        reference: (m, d) the judge's features of the reference images of this group.
        images: (n, h, w, 3) the images, 8 bit.
        errors: (n, k) mean squared difference to the teacher's prediction, at each of k noise levels.
        levels: (k,) those noise levels as u in [0, 1]; 1 is pure noise.
        tap_errors: tap -> (n, k) mean squared difference of the features there; empty where the model has no taps.
        views: feature -> (n, d) what a backbone saw in the images ("inception", "clip", ...), or what it finished.
        view_references: feature -> that of the reference images of this group.
        seed: of the bootstrap; the same for every model, so that resampled items stay paired.
    """

    keys: tuple[Key, ...]
    concept: Int[np.ndarray, " n"] | None = None
    colour: Int[np.ndarray, " n"] | None = None
    judged_concept: Int[np.ndarray, " n"] | None = None
    judged_colour: Int[np.ndarray, " n"] | None = None
    features: Float[np.ndarray, "n d"] | None = None
    reference: Float[np.ndarray, "m d"] | None = None
    images: UInt8[np.ndarray, "n h w 3"] | None = None
    errors: Float[np.ndarray, "n k"] | None = None
    levels: Float[np.ndarray, " k"] | None = None
    tap_errors: Mapping[str, Float[np.ndarray, "n k"]] = field(default_factory=dict)
    views: Mapping[str, Float[np.ndarray, "n d"]] = field(default_factory=dict)
    view_references: Mapping[str, View] = field(default_factory=dict)
    seed: int = 0

    def __len__(self) -> int:
        return len(self.keys)


_ROWS = ("concept", "colour", "judged_concept", "judged_colour", "features", "reference", "images", "errors")


def union(parts: Sequence[Material]) -> Material:
    """The material of several groups of one model as one group."""
    rows = {
        name: None
        if any(getattr(part, name) is None for part in parts)
        else np.concatenate([getattr(part, name) for part in parts])
        for name in _ROWS
    }
    return replace(
        parts[0],
        keys=tuple(key for part in parts for key in part.keys),
        tap_errors=_joined([part.tap_errors for part in parts]),
        views=_joined([part.views for part in parts]),
        view_references=_joined([part.view_references for part in parts]),
        **rows,
    )


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Arrays of the parts one after the other; what is the same object in all of them stays as it is.

    What one part lacks, the whole lacks. Different Gaussians have no common rows, so they are left out, and the metric
    says what is missing.
    """
    joined: dict[str, Any] = {}
    for name in (name for name in parts[0] if all(name in part for part in parts)):
        each = [part[name] for part in parts]
        if all(one is each[0] for one in each):
            joined[name] = each[0]
        elif all(isinstance(one, np.ndarray) for one in each):
            joined[name] = np.concatenate(each)
    return joined


@dataclass(frozen=True)
class Measured:
    """A score and its estimates on the resampled items.

    Attributes:
        score: value, interval and n.
        resampled: (r,) the value on each of r bootstrap samples of the items. Two models are resampled alike, so the
            interval of a difference comes from the difference of their `resampled`.
    """

    score: Score
    resampled: Float[np.ndarray, " r"]


@runtime_checkable
class Metric(Protocol):
    """A metric.

    Attributes:
        name: as in recipes and results.json.
        label: for people.
        unit: "share", "squared distance", ...; "" where there is none.
        higher_is_better: which way is good.
        needs: "judge" (the world's judge on the images), "images" (the images themselves), "pairs" (teacher's and
            student's predictions on the same noisy inputs), "features" (those of backbones).

    A metric that needs "features" also has `features`, the names of those it looks at ("inception", "clip_text"), and
    `wants_reference`, whether it compares them with reference images.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool
    needs: Literal["judge", "images", "pairs", "features"]

    def compute(self, material: Material) -> Measured:
        """The metric of one model on one group."""
        ...


def features_of(metric: Metric) -> tuple[str, ...]:
    """The backbones' features that a metric looks at."""
    return tuple(getattr(metric, "features", ())) if metric.needs == "features" else ()


def wants_reference(metric: Metric) -> bool:
    """Whether a metric compares with reference images."""
    return bool(getattr(metric, "wants_reference", False))


def describe(metric: Metric) -> dict[str, Any]:
    """A metric's label, unit, direction and first line of documentation, for the protocol."""
    lines = (type(metric).__doc__ or "").strip().splitlines() or [""]
    about = {"label": metric.label, "unit": metric.unit, "higher_is_better": metric.higher_is_better}
    return {**about, "description": lines[0]}


def metric_names() -> list[str]:
    """The names of the metrics in this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def metric(name: str | Metric) -> Metric:
    """The metric of that name, or the object behind a dotted name; a metric as it stands.

    Raises:
        UserError: unknown (the nearest name is suggested), not importable, or not a metric.
    """
    if not isinstance(name, str):
        return _checked(name, type(name).__name__)
    if "." in name:
        return _imported(name)
    if name not in metric_names():
        raise unknown_name("metric", name, metric_names())
    return importlib.import_module(f"{__name__}.{name}").METRIC


def _imported(name: str) -> Metric:
    found = imported("metric", name)
    found = getattr(found, "METRIC", found)
    return _checked(found() if isinstance(found, type) and hasattr(found, "compute") else found, name)


def _checked(made: Any, name: str) -> Metric:
    if not isinstance(made, Metric):
        raise UserError(f"metric {name!r} must have name, label, unit, higher_is_better, needs and compute(material)")
    return made


def mean_of(values: Float[np.ndarray, " m"], n: int, seed: int) -> Measured:
    """The mean of one value per item with its bootstrap interval; `n` is the number of images, as results say it."""
    values = np.asarray(values, dtype=np.float64)
    resampled = values[resamples(len(values), seed, num_resamples=NUM_RESAMPLES)].mean(axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    value = float(values.mean())
    return Measured(Score(value, min(float(low), value), max(float(high), value), n), resampled)


def around(value: float, resampled: Float[np.ndarray, " r"], n: int) -> Measured:
    """A value >= 0 with the spread of its resampled ones laid around it: resampling biases them, and that drops out."""
    spread = np.quantile(resampled - resampled.mean(), [0.025, 0.975])
    low, high = (value + spread).clip(min=0.0)
    return Measured(Score(value, float(low), float(high), n), resampled)


def share(correct: Bool[np.ndarray, " n"], seed: int) -> Measured:
    """The share of correct items with its Wilson interval."""
    from condistill.maths.distances import wilson_interval

    n = len(correct)
    low, high = wilson_interval(int(correct.sum()), n)
    resampled = correct[resamples(n, seed, num_resamples=NUM_RESAMPLES)].mean(axis=1)
    return Measured(Score(float(correct.mean()), low, high, n), resampled)
