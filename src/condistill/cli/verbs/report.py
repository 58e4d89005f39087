"""`condistill report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import START
from condistill.cli.options import Json
from condistill.cli.output import emit, nothing_printed

PANEL, ORDER = START, 3


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The HTML file; report.html, in the run folder if there is one run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the report of finished runs: one self-contained page, several runs side by side.

    Example: condistill report runs/demo
    """
    with nothing_printed():
        from condistill.report import report as make_report

        page = make_report(runs, out or (None if len(runs) == 1 else Path("report.html")))
    emit({"report": page}, [f"open  {page}"], as_json=as_json)
