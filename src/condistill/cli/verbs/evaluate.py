"""`condistill evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condistill.cli.app import STEPS
from condistill.cli.options import Guidance, Json, Prompts, Steps, call_of, pairs, words
from condistill.cli.output import emit, note, nothing_printed, table
from condistill.cli.stopping import keeping

PANEL, ORDER = STEPS, 4


def evaluate(
    pipelines: Annotated[
        list[str], typer.Argument(metavar="PIPELINE...", help="The teacher first, then its students.")
    ],
    prompts: Prompts,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            help="What images are compared with: a folder of images, pytorch-fid's .npz (mu, sigma), or an .npz of "
            "images (m, h, w, 3) per group; the teacher's own images of other seeds if not given.",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="world or tones (an embedded world's judge), plain (no judge) or coco30k (the paper's); if not given "
            "the world whose sentences all prompts are, else plain.",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", "--metrics", help="Metrics, separated by commas or repeated; the protocol's if none."),
    ] = None,
    backbones: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone",
            metavar="NAME=PATH",
            help="Weights of inception, clip, dino or lpips: a file, a folder or a hub id; repeat for more.",
        ),
    ] = None,
    keep_images: Annotated[
        Path | None, typer.Option("--keep-images", help="Write every image as PNG into this folder.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at once; it changes speed only.")] = 32,
    items: Annotated[
        int | None, typer.Option("--items", min=1, help="Images per group; one per prompt if not given.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the images.")] = 1,
    steps: Steps = None,
    guidance: Guidance = None,
    student_guidance: Annotated[
        float | None,
        typer.Option(
            "--student-guidance", min=0.0, help="Guidance of the students; 1 if distilled with loss.guidance."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for results.json and samples; goes on there if stopped.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a teacher and its students on the same prompts and seeds.

    Example: condistill evaluate emoji runs/demo/student --prompts prompts.txt --steps 15
    """
    call = call_of(steps, guidance)
    kept = f"everything done is kept in {out}; the same command goes on" if out else "nothing is kept without --out"
    with keeping(kept), nothing_printed():
        from condistill.recipes.measuring import measure

        results = measure(
            pipelines, prompts, reference=reference, protocol=protocol, metrics=words(metrics), seed=seed, call=call,
            student_call=call_of(None, student_guidance), num_items=items, out=out,
            backbones=pairs(backbones, "--backbone"), keep_images=keep_images, batch=batch,
        )  # fmt: skip
    if protocol is None:
        note(f"protocol: {results.protocol['name']}, by the prompts; --protocol chooses another")
    emit(results.to_json(), table(results.table()), as_json=as_json)
