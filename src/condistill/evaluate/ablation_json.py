"""ablation.json: an ablation's parts as JSON types, and back, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from condistill.errors import UserError
from condistill.evaluate.results import ModelResult
from condistill.reading import listed, mapping, number, optional, text, whole

if TYPE_CHECKING:
    from condistill.evaluate.ablation import Ablation, CellResult, Row, Spreads

FILE = "ablation.json"


def groups_json(groups: Spreads) -> dict[str, Any]:
    """Group -> metric -> spread as JSON types."""
    return {group: {name: one.to_json() for name, one in by_name.items()} for group, by_name in groups.items()}


def row_json(row: Row) -> dict[str, Any]:
    """A row of ablation.json."""
    groups = groups_json(row.groups)
    for group, by_name in row.by_time.items():
        for name, levels in by_name.items():
            groups[group][name]["by_time"] = [{"u": u, **spread.to_json()} for u, spread in levels]
    return {"values": dict(row.labels), "model": row.model, "seeds": list(row.seeds), "groups": groups,
            "parameters": row.parameters, "macs": None if row.macs is None else dict(row.macs)}  # fmt: skip


def cell_json(cell: CellResult) -> dict[str, Any]:
    """A cell of ablation.json."""
    return {
        "name": cell.name,
        "values": dict(cell.labels),
        "seed": cell.seed,
        "done": bool(cell.models),
        "train_seconds": cell.train_seconds,
        "models": [model.to_json() for model in cell.models],
    }


def texts(obj: Any, where: str) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(text(one, where) for one in listed(obj, where))


def cell_fields(obj: Any, where: str) -> dict[str, Any]:
    """The fields of the CellResult that `cell_json` wrote."""
    obj = mapping(obj, where)
    labels = {key: text(label, f"{where}.values") for key, label in mapping(obj["values"], f"{where}.values").items()}
    models = listed(obj["models"], f"{where}.models")
    return {
        "name": text(obj["name"], f"{where}.name"),
        "labels": labels,
        "seed": whole(obj["seed"], f"{where}.seed"),
        "models": tuple(ModelResult.from_json(one, f"{where}.models[{k}]") for k, one in enumerate(models)),
        "train_seconds": optional(number, obj["train_seconds"], f"{where}.train_seconds"),
    }


def refuse_misfits(found: Ablation) -> None:
    """Nothing, if every cell has a value on every axis and all students have the same scores.

    Raises:
        UserError: one has not.
    """
    for cell in found.cells:
        if len(cell.labels) != len(found.axes) or any(
            cell.labels.get(key) not in labels for key, labels in found.axes.items()
        ):
            raise UserError(f"{FILE}: cell {cell.name!r} does not fit the axes; run condistill ablate again")
    if len({_shape(model) for cell in found.cells for model in cell.models}) > 1:
        raise UserError(f"{FILE}: not all cells have the same groups and metrics; run condistill ablate again")


def _shape(model: ModelResult) -> tuple[Any, ...]:
    """Groups, metrics and numbers of noise levels of a model's scores."""
    return tuple(
        (group, name, len(score.by_time)) for group, scores in sorted(model.groups.items())
        for name, score in sorted(scores.items())
    )  # fmt: skip
