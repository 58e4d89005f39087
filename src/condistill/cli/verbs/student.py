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
    as_json: Json = False,
) -> None:
    """Cut a student from a teacher and save it, untrained, as a pipeline folder.

    Example: condistill student emoji --student b-base --out students/b-base
    """
    with nothing_printed():
        from condistill.recipes.students import student_folder

        made = student_folder(teacher, spec, out=out, init=init, seed=seed)
    emit(made, [f"{made['folder']}: {made['parameters']:,} parameters, {spec}, {init}"], as_json=as_json)
