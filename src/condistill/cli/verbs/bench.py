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
    compile: Annotated[bool, typer.Option("--compile", help="Our training compiled as well: minutes more.")] = False,
    losses: Annotated[
        int | None, typer.Option("--losses", min=10, help="No clock: compare the losses of so many steps.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A JSON file for everything measured.")] = None,
    as_json: Json = False,
) -> None:
    """Time training, three students at once and the making of D, each beside a plain loop as it is published.

    Example: condistill bench --size world --out bench.json
    """
    with nothing_printed():
        from condistill.bench import bench as measured
        from condistill.bench import losses as compared
        from condistill.files import write_json

        asked: dict[str, Any] = {"tiny": tiny, "batch": batch, "compiled": compile}
        if losses is None:
            found = measured(size, steps=steps, repeats=repeats, **asked)
        else:
            found = compared(size, steps=losses, **asked)
        if out is not None:
            write_json(out, found)
    lines = _lines(found) if losses is None else _losses(found)
    emit(found, [*lines, *([f"written  {out}"] if out is not None else [])], as_json=as_json)


def _lines(found: dict[str, Any]) -> list[str]:
    training, made = found["training"], found["making_d"]
    loops = list(training)
    names = list(dict.fromkeys(name for loop in loops for name in training[loop]["parts"]))
    rows = [["", *loops]]
    for name in ("samples_per_second", "samples_per_processor_second", "peak_mib", "flops_per_sample"):
        rows.append([name, *(_number(training[loop][name]) for loop in loops)])
    rows += [
        [f"peak: {name}", *(f"{training[loop]['share_of_peak'][name]:.1%}" for loop in loops)]
        for name in found["peak_flops_per_second"]
    ]
    rows += [[f"part: {name}", *(f"{training[loop]['parts'].get(name, 0.0):.1%}" for loop in loops)] for name in names]
    ours = [training[loop] for loop in loops[1:]]
    for clock in ("wall", "processor"):
        rows.append([f"times as fast as plain ({clock})", "", *(_spread(one["ratio"][clock]) for one in ours)])
    rows.append(["largest difference of losses", "", *(f"{one['difference_of_losses']:.1e}" for one in ours)])
    rows.append(["D: samples_per_second", *(_number(made[loop]["samples_per_second"]) for loop in ("plain", "ours"))])
    ratios = {
        "making D, times as fast as plain": made["ratio"],
        "three students at once, share of time": found["three_students"]["share_of_time"],
    }
    for name, both in ratios.items():
        rows += [[f"{name} ({clock})", "", _spread(value)] for clock, value in (both or {}).items()]
    if (why := found["three_students"].get("not_measured")) is not None:
        rows.append([f"three students at once were not measured: {why}"])
    rows = [row + [""] * (len(rows[0]) - len(row)) for row in rows]
    return table(rows)


def _losses(found: dict[str, Any]) -> list[str]:
    training, block = found["training"], found["block"]
    rows = [["mean loss of steps", *training]]
    for k, first in enumerate(training["plain"]["losses"]):
        others = (one["losses"][k] for name, one in training.items() if name != "plain")
        rows.append([f"{k * block + 1} to {(k + 1) * block}", *(f"{value:.5g}" for value in (first, *others))])
    ours = [one for name, one in training.items() if name != "plain"]
    rows.append(["largest difference", "", *(f"{one['difference']:.2%}" for one in ours)])
    rows.append(["difference of the last quarter", "", *(f"{one['last']:+.2%}" for one in ours)])
    return table(rows)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _spread(value: dict[str, float]) -> str:
    return f"{value['median']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
