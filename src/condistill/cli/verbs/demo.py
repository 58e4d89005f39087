"""`condistill demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import START
from condistill.cli.options import Json, Overrides
from condistill.cli.recipe_verbs import carry_out

PANEL, ORDER = START, 1


def demo(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", help="The run folder.")] = Path("runs/demo"),
    as_json: Json = False,
) -> None:
    """The whole story on the embedded teacher: CPU, minutes, no network.

    Makes D from prompts without animals, distils the same student without and with random conditioning, and shows
    which of them draws animals. It is the recipe emoji.

    Example: condistill demo --out runs/demo
    """
    carry_out("demo", "emoji", overrides, out, as_json=as_json)
