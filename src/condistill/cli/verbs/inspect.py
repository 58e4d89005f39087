"""`condistill inspect`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from condistill.cli.app import STEPS
from condistill.cli.options import Init, Json
from condistill.cli.output import emit, nothing_printed

PANEL, ORDER = STEPS, 1


def inspect(
    teacher: Annotated[
        str, typer.Argument(metavar="TEACHER", help="A pipeline or component folder, emoji, sd-v1-4, or a hub id.")
    ],
    spec: Annotated[
        str | None, typer.Option("--student", help="A preset (b-base) or a rule (depth=0.5, width=0.75).")
    ] = None,
    init: Init = "inherit",
    as_json: Json = False,
) -> None:
    """Show what a student keeps of a teacher, with parameters and MACs; reads no weights.

    Example: condistill inspect sd-v1-4 --student b-small
    """
    with nothing_printed(), nothing_collected():
        from condistill.recipes.students import inspected

        found, lines = inspected(teacher, spec, init=init)
    emit(found, lines, as_json=as_json)


@contextmanager
def nothing_collected() -> Iterator[None]:
    """No garbage collection inside the block, nor of what it made: a quarter of the time that a short process takes.

    Importing torch and diffusers makes millions of objects that stay; walking them again and again, and once more when
    the process ends, frees nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
