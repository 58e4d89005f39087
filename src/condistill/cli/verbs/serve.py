"""`condistill serve`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from condistill.cli.app import START
from condistill.cli.options import Json
from condistill.cli.output import emit, nothing_printed
from condistill.cli.stopping import keeping

PANEL, ORDER = START, 4


def serve(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders; pipelines are shown as well.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="On this machine only; 0 takes any free one.")
    ] = 7860,
    as_json: Json = False,
) -> None:
    """Show teacher and students side by side on a page: prompt, seed, steps, guidance, time and size; the run's report.

    Only this machine can reach it, and it needs no network. Ctrl-C ends it.

    Example: condistill serve runs/demo
    """
    with nothing_printed():
        from condistill.web import Server, Studio

        studio = Studio(runs)
        server = Server(studio, port)
    about = {"url": server.url, "models": [model.name for model in studio.models]}
    emit(about, [f"open  {server.url}", f"shows {', '.join(about['models'])}"], as_json=as_json)
    sys.stdout.flush()
    with keeping("the page is closed; nothing was changed"), nothing_printed():
        server.run()
