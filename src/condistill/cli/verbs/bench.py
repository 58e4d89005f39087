"""`condistill bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from condistill.cli.app import STEPS
from condistill.cli.options import Json
from condistill.cli.output import emit, nothing_printed, table

PANEL, ORDER = STEPS, 9


def bench(
    size: Annotated[
        str, typer.Option("--size", help="world (on the CPU), or at full size with random weights sd, sdxl, mmdit.")
    ] = "world",
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Few channels: tries a size anywhere, says nothing of it.")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps in a block.")] = 5,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Blocks of each loop, taking turns.")] = 5,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Samples a step.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A JSON file for everything measured.")] = None,
    as_json: Json = False,
) -> None:
    """Time training, three students at once and the making of D, each beside a plain loop as it is published.

    Example: condistill bench --size world --out bench.json
    """
    with nothing_printed():
        from condistill.bench import bench as measured
        from condistill.files import write_json

        found = measured(size, tiny=tiny, steps=steps, repeats=repeats, batch=batch)
        if out is not None:
            write_json(out, found)
    emit(found, [*_lines(found), *([f"written  {out}"] if out is not None else [])], as_json=as_json)


def _lines(found: dict[str, Any]) -> list[str]:
    training, made = found["training"], found["making_d"]
    names = list(dict.fromkeys([*training["plain"]["parts"], *training["ours"]["parts"]]))
    rows = [["", "plain", "ours"]]
    for name in ("samples_per_second", "samples_per_processor_second", "peak_mib", "flops_per_sample"):
        rows.append([name, *(_number(training[loop][name]) for loop in ("plain", "ours"))])
    rows += [
        [f"peak: {name}", *(f"{training[loop]['share_of_peak'][name]:.1%}" for loop in ("plain", "ours"))]
        for name in found["peak_flops_per_second"]
    ]
    rows += [
        [f"part: {name}", *(f"{training[loop]['parts'].get(name, 0.0):.1%}" for loop in ("plain", "ours"))]
        for name in names
    ]
    rows.append(["D: samples_per_second", *(_number(made[loop]["samples_per_second"]) for loop in ("plain", "ours"))])
    ratios = {
        "training, times as fast as plain": training["ratio"],
        "making D, times as fast as plain": made["ratio"],
        "three students at once, share of time": found["three_students"]["share_of_time"],
    }
    for name, both in ratios.items():
        rows += [[f"{name} ({clock})", "", _spread(value)] for clock, value in both.items()]
    rows.append(["largest difference of losses", "", f"{training['difference_of_losses']:.1e}"])
    return table(rows)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _spread(value: dict[str, float]) -> str:
    return f"{value['median']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
