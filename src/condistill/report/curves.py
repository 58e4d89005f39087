"""From logs and results to the panels of the charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from condistill.errors import UserError
from condistill.evaluate.results import ModelResult, Results
from condistill.maths.distances import wilson_interval
from condistill.report.charts import Line, Panel, smooth
from condistill.report.read import ArmLog

Colours = Mapping[str, int]
_TERMS = {"out": "Output term", "feat": "Feature term", "task": "Task term"}
NOISE = "noise level u"
_LATE = 0.25  # "the end of training": the last quarter of the log


def ordered_groups(names: Iterable[str]) -> list[str]:
    """Unseen first, since that is what the method is about; then seen, others, all."""
    found = list(dict.fromkeys(names))
    return [*(g for g in found if g == "unseen"), *(g for g in found if g not in ("unseen", "all")),
            *(g for g in found if g == "all")]  # fmt: skip


def _finite(rows: Iterable[tuple[Any, Any]]) -> tuple[list[float], list[float]]:
    kept = [(float(x), float(y)) for x, y in rows if x is not None and y is not None and math.isfinite(y)]
    return [x for x, _ in kept], [y for _, y in kept]


def loss_panels(arms: Mapping[str, ArmLog], colours: Colours) -> list[Panel]:
    """Total and terms against steps, one line per arm; the values faint, their running mean full."""
    terms = [key for key in _TERMS if any(key in row.get("terms", {}) for arm in arms.values() for row in arm.steps)]
    columns: list[tuple[str, Any]] = [("Total loss", lambda row: row.get("loss"))]
    columns += [(_TERMS[key], lambda row, key=key: row.get("terms", {}).get(key)) for key in terms]
    panels = []
    for title, column in columns:
        lines: list[Line] = []
        for name, arm in arms.items():
            x, y = _finite((row.get("step"), column(row)) for row in arm.steps)
            if x:
                lines += [Line(colours[name], x, y, faint=True)] if len(x) > 20 else []
                lines.append(Line(colours[name], x, smooth(y, max(1, len(y) // 20))))
        panels += [Panel(title, tuple(lines), "step", log=True)] if lines else []
    return panels


def _by_time(arm: ArmLog, rows: Sequence[Mapping[str, Any]], table: str) -> dict[float, list[Mapping[str, Any]]]:
    """Middle of the bin -> its entries over the given log lines."""
    bins: dict[float, list[Mapping[str, Any]]] = {}
    for row in rows:
        for entry in row.get(table) or ():
            bins.setdefault((entry["low"] + entry["high"]) / 2, []).append(entry)
    return dict(sorted(bins.items()))


def time_panels(arms: Mapping[str, ArmLog], colours: Colours) -> list[Panel]:
    """Mean terms by noise level at the end of training, one line per arm."""
    panels = []
    for key in ("out", "feat"):
        lines = []
        for name, arm in arms.items():
            late = arm.steps[-max(1, round(len(arm.steps) * _LATE)) :]
            x, y = _finite((u, _weighted(entries, key)) for u, entries in _by_time(arm, late, "by_time").items())
            lines += [Line(colours[name], x, y)] if x else []
        has_values = any(value > 0 for line in lines for value in line.y)
        panels += [Panel(_TERMS[key], tuple(lines), NOISE, log=True, x_limits=(0, 1))] if has_values else []
    return panels


def _weighted(entries: Sequence[Mapping[str, Any]], key: str) -> float | None:
    pairs = [(entry[key], entry.get("n", 1)) for entry in entries if entry.get(key) is not None and entry.get("n", 1)]
    total = sum(n for _, n in pairs)
    return sum(value * n for value, n in pairs) / total if total else None


def swap_panels(arms: Mapping[str, ArmLog], colours: Colours) -> list[Panel]:
    """p(u) as asked for and the share of conditions really swapped, one curve and ten points per arm."""
    lines: list[Line] = []
    for name, arm in arms.items():
        curve = _p_curve(arm.start.get("p_random"))
        if curve is not None:
            lines.append(Line(colours[name], *curve))
        x, y = [], []
        for u, entries in _by_time(arm, arm.steps, "swap_rate_by_time").items():
            count = sum(entry.get("n", 0) for entry in entries)
            if count:
                x.append(u)
                y.append(sum(entry.get("swapped", 0) for entry in entries) / count)
        lines += [Line(colours[name], x, y, points=True)] if x else []
    return [Panel("Probability of a swapped condition", tuple(lines), NOISE, x_limits=(0, 1))] if lines else []


def _p_curve(spec: Any) -> tuple[list[float], list[float]] | None:
    """p(u) of the spec in the log; None if it is a function of the user's that is not at hand."""
    if spec is None:
        return None
    import torch

    from condistill.maths.p_random import p_random

    u = torch.linspace(0, 1, 101)
    try:
        return u.tolist(), p_random(spec)(u).tolist()
    except (UserError, TypeError):
        return None


def swap_rate(arm: ArmLog) -> tuple[float, float, float] | None:
    """The share of conditions swapped over the whole training, with its 95 % interval."""
    entries = [entry for row in arm.steps for entry in row.get("swap_rate_by_time") or ()]
    n, swapped = sum(entry.get("n", 0) for entry in entries), sum(entry.get("swapped", 0) for entry in entries)
    return (swapped / n, *wilson_interval(swapped, n)) if n else None


def gap_panels(results: Results, students: Sequence[ModelResult], colours: Colours) -> list[Panel]:
    """KD gap against noise level, one panel per group, one line with its interval per student."""
    panels = []
    groups = ordered_groups(group for model in students for group in model.groups)
    for group in groups if len(groups) == 1 else [g for g in groups if g != "all"]:
        lines = []
        for model in students:
            score = model.groups.get(group, {}).get("kd_gap")
            if score is not None and score.by_time:
                x, y, low, high = ([level[key] for level in score.by_time] for key in ("u", "value", "low", "high"))
                lines.append(Line(colours[model.name], x, y, low, high))
        if lines:
            panels.append(Panel(f"{group} prompts", tuple(lines), NOISE, from_zero=True, x_limits=(0, 1)))
    return panels


def last_losses(arm: ArmLog) -> tuple[float, float] | None:
    """Mean total loss over the first and the last tenth of the log."""
    _, y = _finite((row.get("step"), row.get("loss")) for row in arm.steps)
    tenth = max(1, len(y) // 10)
    return (float(np.mean(y[:tenth])), float(np.mean(y[-tenth:]))) if y else None
