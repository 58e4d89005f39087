"""From results and logs to the cells of the tables: text only, the page does the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condistill.evaluate.results import Comparison, ModelResult, Results, Score, format_number
from condistill.maths.randomise import Key
from condistill.progress import duration
from condistill.report.curves import last_losses, ordered_groups, swap_rate
from condistill.report.read import ArmLog

DASH = "\u2013"
MINUS = "\u2212"
TITLES = {"teacher": "Teacher", "without": "Without random conditioning", "with": "With random conditioning"}


@dataclass(frozen=True)
class Cell:
    """A number, its interval in small print, and what it means: "", "better" or "worse" than the row it is set against.

    `is_best` marks a student that is better than all others by more than their intervals.
    """

    value: str
    detail: str = ""
    mark: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table; `colour` is the series of the model, None for differences."""

    title: str
    cells: tuple[Cell, ...]
    colour: int | None = None


@dataclass(frozen=True)
class Table:
    """A table: its title, a line under it, column heads (label, hint) and rows."""

    title: str
    detail: str
    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def title(name: str) -> str:
    """A model's name for people."""
    return TITLES.get(name, name)


def shown(key: Key) -> str:
    """A key for people: a prompt as it is, anything else as JSON."""
    return key if isinstance(key, str) else json.dumps(key, ensure_ascii=False, sort_keys=True)


def number(value: float, unit: str = "") -> str:
    """A number in its unit; shares as per cent.

    >>> number(0.98754, "share"), number(0.02, "share"), number(12.345), number(0.0)
    ('98.8 %', '2 %', '12.3', '0')
    """
    text = f"{round(100 * value, 1):g} %" if unit == "share" else format_number(value)
    return text.replace("-", MINUS)


def interval(score: Score, unit: str = "") -> str:
    """The interval, the unit said once."""
    low, high = number(score.low, unit), number(score.high, unit)
    return f"{low.removesuffix(' %')} to {high}"


def signed(score: Score, unit: str) -> str:
    """A difference with its sign; shares in percentage points."""
    text = number(score.value, unit).replace("%", "points")
    return text if score.value <= 0 else f"+{text}"


def metric_tables(results: Results, colours: Mapping[str, int]) -> list[Table]:
    """One table per group: models in rows, metrics in columns, paired differences below."""
    metrics: Mapping[str, Mapping[str, Any]] = results.protocol.get("metrics", {})
    groups = ordered_groups(group for model in results.models for group in model.groups)
    tables = []
    for group in groups:
        names = [n for n in metrics if any(n in model.groups.get(group, {}) for model in results.models)]
        rows = [
            Row(title(m.name), tuple(_cell(results, m, group, n) for n in names), colours[m.name])
            for m in results.models
            if group in m.groups
        ]
        rows += [_difference_row(c, group, names, metrics) for c in results.comparisons if group in c.groups]
        n = next((score.n for m in results.models for score in m.groups.get(group, {}).values()), 0)
        heads = tuple((metrics[name]["label"], _direction(metrics[name])) for name in names)
        tables.append(Table(f"{group.capitalize()} prompts", f"{n} images per model", heads, tuple(rows)))
    return tables


def _direction(metric: Mapping[str, Any]) -> str:
    return "higher is better" if metric.get("higher_is_better") else "lower is better"


def _cell(results: Results, model: ModelResult, group: str, name: str) -> Cell:
    score = model.groups.get(group, {}).get(name)
    if score is None:
        return Cell(DASH)
    about = results.protocol["metrics"][name]
    if name == "kd_gap" and model is results.models[0]:
        return Cell("0", "by definition")
    others = [m.groups[group][name] for m in results.models[1:] if m is not model and name in m.groups.get(group, {})]
    if about.get("higher_is_better"):
        is_ahead = all(score.low > other.high for other in others)
    else:
        is_ahead = all(score.high < other.low for other in others)
    is_best = bool(others) and is_ahead and model is not results.models[0]
    unit = about.get("unit", "")
    return Cell(number(score.value, unit), interval(score, unit), is_best=is_best)


def _difference_row(
    comparison: Comparison, group: str, names: Sequence[str], metrics: Mapping[str, Mapping[str, Any]]
) -> Row:
    cells = []
    for name in names:
        score = comparison.groups[group].get(name)
        if score is None:
            cells.append(Cell(DASH))
            continue
        is_clear = score.low > 0 or score.high < 0
        is_better = (score.value > 0) == bool(metrics[name].get("higher_is_better"))
        mark = ("better" if is_better else "worse") if is_clear else ""
        unit = metrics[name].get("unit", "")
        cells.append(Cell(signed(score, unit), interval(score, unit).replace("%", "points"), mark))
    return Row(f"{comparison.model} {MINUS} {comparison.baseline}", tuple(cells))


def cost_table(results: Results, colours: Mapping[str, int]) -> Table:
    """Parameters, multiply-accumulates in both conventions and latency, each with its ratio to the teacher."""
    teacher = results.models[0]
    columns = (
        ("Parameters", "of the denoiser", lambda m: m.parameters, _count),
        ("MACs", "convolutions and linear layers", lambda m: (m.macs or {}).get("conv_linear"), _count),
        ("MACs, total", "with the products in attention", lambda m: (m.macs or {}).get("total"), _count),
        ("Latency", "one image, whole pipeline", lambda m: m.latency_seconds, _seconds),
    )
    rows = []
    for model in results.models:
        cells = []
        for _, _, value_of, text_of in columns:
            value, whole = value_of(model), value_of(teacher)
            ratio = "" if model is teacher or not value or not whole else f"{100 * value / whole:.0f} % of the teacher"
            cells.append(Cell(text_of(value) if value is not None else DASH, ratio))
        rows.append(Row(title(model.name), tuple(cells), colours[model.name]))
    return Table("", "", tuple((label, hint) for label, hint, _, _ in columns), tuple(rows))


def _count(value: float) -> str:
    """A large number for people.

    >>> _count(8_700_000), _count(338_610_585_600), _count(950)
    ('8.70 M', '339 G', '950')
    """
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            short = value / size
            return (
                f"{short:.2f} {letter}"
                if short < 10
                else f"{short:.1f} {letter}"
                if short < 100
                else f"{short:.0f} {letter}"
            )
    return f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def training_table(arms: Mapping[str, ArmLog], colours: Mapping[str, int]) -> Table:
    """What each arm was trained with and for how long."""
    heads = (
        ("p(u)", ""),
        ("Steps", ""),
        ("Time", ""),
        ("Images per second", ""),
        ("Swapped", "measured"),
        ("Loss", "first and last tenth"),
    )
    rows = []
    for name, arm in arms.items():
        last = arm.steps[-1] if arm.steps else {}
        rate, losses = swap_rate(arm), last_losses(arm)
        seconds = arm.end.get("seconds") or last.get("seconds")
        speed = [row["samples_per_second"] for row in arm.steps if row.get("samples_per_second")]
        steps = arm.end.get("step") or last.get("step", 0)
        batch = arm.start.get("batch")
        cells = (
            Cell(_p_name(arm.start.get("p_random"))),
            Cell(str(steps), "" if arm.end else "still training", "" if arm.end else "worse")
            if not batch
            else Cell(str(steps), f"of {batch} samples" if arm.end else f"of {batch} samples; not finished"),
            Cell(duration(seconds) if seconds else DASH),
            Cell(f"{sorted(speed)[len(speed) // 2]:.3g}" if speed else DASH),
            Cell(f"{100 * rate[0]:.3g} %" if rate else DASH),
            Cell(f"{format_number(losses[0])} \u2192 {format_number(losses[1])}" if losses else DASH),
        )
        rows.append(Row(title(name), cells, colours[name]))
    return Table("", "", heads, tuple(rows))


def _option(value: Any) -> str:
    """A number shortly; a table by its length alone, since the chart shows it."""
    if isinstance(value, list):
        return str(len(value))
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _p_name(spec: Any) -> str:
    """A p(u) for people.

    >>> _p_name({"name": "sigmoid", "k": 20.0, "centre": 0.7}), _p_name({"name": "constant", "p": 0.0})
    ('sigmoid (k 20, centre 0.7)', '0')
    """
    if not isinstance(spec, Mapping):
        return DASH if spec is None else str(spec)
    options = {key: _option(value) for key, value in spec.items() if key != "name"}
    if spec.get("name") == "constant":
        return options.get("p", "constant")
    inner = ", ".join(f"{key} {value}" for key, value in options.items())
    return f"{spec.get('name')} ({inner})" if inner else str(spec.get("name"))
