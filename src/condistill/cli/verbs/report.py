"""`condistill report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import START
from condistill.cli.output import Json, emit, nothing_printed

PANEL, ORDER = START, 3


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")], as_json: Json = False
) -> None:
    """Make the report of finished runs: one self-contained page each.

    Example: condistill report runs/demo
    """
    from condistill.recipes.run import report_run

    with nothing_printed():
        pages = [report_run(folder) for folder in runs]
    emit({"reports": pages}, [f"open  {page}" for page in pages], as_json=as_json)
