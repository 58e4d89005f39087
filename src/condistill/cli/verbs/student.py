"""`condistill student`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import STEPS
from condistill.cli.options import Init, Json
from condistill.cli.output import emit, nothing_printed

PANEL, ORDER = STEPS, 2


def student(
    teacher: Annotated[str, typer.Argument(metavar="TEACHER", help="A pipeline folder, emoji, or a hub id.")],
    spec: Annotated[str, typer.Option("--student", help="A preset (b-base) or a rule (depth=0.5, width=0.75).")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the student's pipeline.")],
    init: Init = "inherit",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of fresh weights.")] = 0,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="The teacher's D, to measure which blocks stay (blocks=scored).")
    ] = None,
    lora: Annotated[
        Path | None, typer.Option("--lora", help="A LoRA of the teacher (safetensors), carried over to OUT/lora.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Cut a student from a teacher and save it, untrained, as a pipeline folder.

    Example: condistill student emoji --student b-base --out students/b-base
    """
    with nothing_printed():
        from condistill.recipes.students import student_folder

        made = student_folder(teacher, spec, out=out, init=init, seed=seed, cache=cache, lora=lora)
    lines = [f"{made['folder']}: {made['parameters']:,} parameters, {made['spec']}, {init}"]
    if "lora" in made:
        carried = made["lora"]
        lines += [f"{carried['folder']}: {carried['tensors']} tensors of the LoRA carried over"]
        lines += [f"  left out: {layer}: {why}" for layer, why in carried["dropped"].items()]
    emit(made, lines, as_json=as_json)
