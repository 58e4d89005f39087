"""An ablation as a table in Markdown: the teacher, every combination of values, and the differences between them."""

from __future__ import annotations

from collections.abc import Sequence

from condistill.evaluate.ablation import Ablation, Difference, Row, Spread
from condistill.evaluate.results import format_number


def format_spread(spread: Spread) -> str:
    """Mean and interval; the mean alone where there is no interval or all seeds gave the same number.

    >>> format_spread(Spread(0.5, 0.4, 0.6, (0.45, 0.55))), format_spread(Spread(0.5, None, None, (0.5,)))
    ('0.5 [0.4, 0.6]', '0.5')
    """
    if spread.low is None or spread.high is None or spread.low == spread.high:
        return format_number(spread.mean)
    return f"{format_number(spread.mean)} [{format_number(spread.low)}, {format_number(spread.high)}]"


def markdown(found: Ablation) -> str:
    """The table, and below it the differences paired by seed."""
    rows, keys = found.rows(), list(found.axes)
    if not rows:
        return "No cell is done yet.\n"
    names = ["student"] if len({row.model for row in rows}) > 1 else []
    metrics = list(dict.fromkeys(name for row in rows for scores in row.groups.values() for name in scores))
    heads = [*keys, *names, "seeds", "group", *metrics]
    lines = _teacher(found, metrics, num_before=len(heads) - len(metrics) - 1)
    table = _table(heads, [*lines, *(line for row in rows for line in _lines(row, metrics, with_model=bool(names)))])
    differences = [line for one in found.differences() for line in _lines(one, metrics, with_model=bool(names))]
    if not differences:
        return table
    base = f"{keys[0]} {found.axes[keys[0]][0]}"
    return f"{table}\nDifferences to {base}, paired by seed:\n\n{_table(heads, differences)}"


def _teacher(found: Ablation, metrics: Sequence[str], *, num_before: int) -> list[list[str]]:
    if found.teacher is None:
        return []
    first = ["teacher", *[""] * (num_before - 1)]
    return [
        [*first, group, *(format_number(scores[name].value) if name in scores else "" for name in metrics)]
        for group, scores in found.teacher.groups.items()
    ]


def _lines(row: Row | Difference, metrics: Sequence[str], *, with_model: bool) -> list[list[str]]:
    start = [*row.labels.values(), *([row.model] if with_model else [])]
    return [
        [*start, str(max(len(spread.values) for spread in scores.values())), group]
        + [format_spread(scores[name]) if name in scores else "" for name in metrics]
        for group, scores in row.groups.items()
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[text.replace("|", "\\|") for text in row] for row in (heads, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]]) + "\n"
