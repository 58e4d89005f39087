"""`condistill push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import START
from condistill.cli.options import Json
from condistill.cli.output import emit, nothing_printed

PANEL, ORDER = START, 5


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder with a trained student.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the repository on the Hugging Face hub: owner/name.")],
    arm: Annotated[str | None, typer.Option("--arm", help="Which student of the run; its own where not given.")] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="The teacher's licence, where its model card is not to be had.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder that is uploaded; RUN/push.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the folder only, without any network.")] = False,
    as_json: Json = False,
) -> None:
    """Write a student's model card and upload both to the Hugging Face hub.

    The card says teacher, student, data, recipe, scores with their protocol and how to load it. The teacher's licence
    and gate are carried over.

    Example: condistill push runs/demo me/small-emoji --dry-run
    """
    with nothing_printed():
        from condistill.recipes.push import pushed

        made = pushed(run, name, arm=arm, licence=licence, out=out, private=private, dry_run=dry_run)
    lines = [f"{made['folder']}: {len(made['files'])} files, card and student {made['student']}"]
    lines += [f"licence  {made['licence'] or 'not known: say it with --license before you upload'}"]
    lines += [f"uploaded {made['address']}"] if made["address"] else ["not uploaded (--dry-run)"]
    emit(made, lines, as_json=as_json)
