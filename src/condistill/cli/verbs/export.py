"""`condistill export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import STEPS
from condistill.cli.options import Json
from condistill.cli.output import emit, nothing_printed

PANEL, ORDER = STEPS, 6


def export(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="A pipeline folder, emoji, or a hub id.")],
    to: Annotated[str, typer.Option("--to", help="onnx, openvino, single-file or torchao-int8.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder, or file for single-file; PIPELINE-FORMAT beside it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a pipeline for another engine, run it, and compare it with the pipeline.

    onnx and openvino write every network that the pipeline calls, single-file the layout of the original Stable
    Diffusion checkpoints, torchao-int8 the denoiser with 8-bit weights. A difference beyond the tolerance is an error.

    Example: condistill export runs/demo/student --to onnx --out exported
    """
    with nothing_printed():
        from condistill.export import default_place, lines
        from condistill.export import export as write

        found = write(pipeline, to, out=out or default_place(pipeline, to))
    emit(found, lines(found), as_json=as_json)
