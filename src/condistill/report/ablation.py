"""The page of a grid: by group its combinations with their intervals over training seeds, and a chart per metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from condistill.evaluate.ablation import Ablation, Difference, Spread
from condistill.evaluate.ablation import Row as Combination
from condistill.report import charts, curves, tables
from condistill.report.charts import Line, Panel
from condistill.report.tables import MINUS, Cell, Row, Table


def section(found: Ablation, name: str) -> dict[str, Any]:
    """Everything the page says about a grid, for the template."""
    rows = found.rows()
    metrics: Mapping[str, Mapping[str, Any]] = (found.protocol or {}).get("metrics", {})
    groups = curves.ordered_groups(group for row in rows for group in row.groups)
    colours = {_title(row, rows): 1 + k % (charts.NUM_COLOURS - 1) for k, row in enumerate(rows)}
    shown = [group for group in groups if group != "all"] or groups
    panels = {g: {"metrics": _panels(rows, metrics, g), "gap": _gap_panels(rows, g)} for g in shown}
    return {
        "name": name,
        "recipe": " ".join([found.recipe, *found.overrides]),
        "axes": {key: ", ".join(labels) for key, labels in found.axes.items()},
        "seeds": len(found.seeds),
        "done": sum(bool(cell.models) for cell in found.cells),
        "cells": len(found.cells),
        "machines": "; ".join(found.machines),
        "legend": list(colours.items()),
        "metrics": [_table(found, group, metrics, colours) for group in groups],
        "about": list(metrics.values()),
        "charts": {
            group: {kind: charts.draw(some, name=f"{group}-{kind}") for kind, some in by_kind.items() if some}
            for group, by_kind in panels.items()
        },
    }


def _title(row: Combination | Difference, rows: Sequence[Combination]) -> str:
    words = [f"{key} {label}" for key, label in row.labels.items()] or ["the recipe"]
    return ", ".join(words + ([row.model] if len({one.model for one in rows}) > 1 else []))


def _table(found: Ablation, group: str, metrics: Mapping[str, Mapping[str, Any]], colours: Mapping[str, int]) -> Table:
    rows, names = found.rows(), list(metrics)
    heads = [("Seeds", "finished"), *((metrics[n]["label"], _direction(metrics[n])) for n in names)]
    lines = []
    if found.teacher is not None and group in found.teacher.groups:
        scores = found.teacher.groups[group]
        cells = [Cell(tables.number(scores[n].value, metrics[n].get("unit", "")) if n in scores else "") for n in names]
        lines.append(Row("Teacher", (Cell(""), *cells), 0))
    for row in rows:
        if group in row.groups:
            spreads = [_cell(row.groups[group].get(n), metrics[n]) for n in names]
            lines.append(Row(_title(row, rows), (Cell(str(len(row.seeds))), *spreads), colours[_title(row, rows)]))
    for one in found.differences():
        if group in one.groups:
            base = next(iter(one.baseline.values()))
            spreads = [_cell(one.groups[group].get(n), metrics[n], signed=True) for n in names]
            count = max(len(spread.values) for spread in one.groups[group].values())
            lines.append(Row(f"{_title(one, rows)} {MINUS} {base}", (Cell(str(count)), *spreads), None))
    return Table(f"{group.capitalize()} prompts", "", tuple(heads), tuple(lines))


def _direction(metric: Mapping[str, Any]) -> str:
    return "higher is better" if metric.get("higher_is_better") else "lower is better"


def _cell(spread: Spread | None, metric: Mapping[str, Any], *, signed: bool = False) -> Cell:
    """Mean and interval; a difference whose interval does not hold 0 is marked."""
    if spread is None:
        return Cell("")
    unit, mark = metric.get("unit", ""), ""
    value, detail = tables.number(spread.mean, unit), ""
    if spread.low is not None and spread.high is not None:
        detail = f"{tables.number(spread.low, unit).removesuffix(' %')} to {tables.number(spread.high, unit)}"
        if signed and (spread.low > 0 or spread.high < 0):
            mark = "better" if (spread.mean > 0) == bool(metric.get("higher_is_better")) else "worse"
    if signed:
        value, detail = value.replace("%", "points"), detail.replace("%", "points")
        value = value if spread.mean <= 0 else f"+{value}"
    return Cell(value, detail, mark)


def _panels(rows: Sequence[Combination], metrics: Mapping[str, Mapping[str, Any]], group: str) -> list[Panel]:
    """A panel per metric: for each combination the interval as an upright line and the mean as a point."""
    panels = []
    for name in metrics:
        lines: list[Line] = []
        for k, row in enumerate(rows):
            spread = row.groups.get(group, {}).get(name)
            if spread is None:
                continue
            colour = 1 + k % (charts.NUM_COLOURS - 1)
            if spread.low is not None and spread.high is not None:
                lines.append(Line(colour, [k + 1, k + 1], [spread.low, spread.high]))
            lines.append(Line(colour, [k + 1], [spread.mean], points=True))
        if lines:
            limits = (0.5, len(rows) + 0.5)
            panels.append(Panel(metrics[name]["label"], tuple(lines), "row of the table", x_limits=limits))
    return panels


def _gap_panels(rows: Sequence[Combination], group: str) -> list[Panel]:
    """The metrics that have values by noise level, against it."""
    names = list(dict.fromkeys(name for row in rows for name in row.by_time.get(group, {})))
    panels = []
    for name in names:
        lines = []
        for k, row in enumerate(rows):
            levels = row.by_time.get(group, {}).get(name, ())
            x, y = [u for u, _ in levels], [spread.mean for _, spread in levels]
            low = [spread.low for _, spread in levels if spread.low is not None]
            high = [spread.high for _, spread in levels if spread.high is not None]
            lines.append(Line(1 + k % (charts.NUM_COLOURS - 1), x, y, low, high))
        panels.append(Panel(f"{name}, {group}", tuple(lines), curves.NOISE, from_zero=True, x_limits=(0, 1)))
    return panels
