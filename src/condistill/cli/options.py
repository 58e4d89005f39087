"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from condistill.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object and nothing else.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values to change, for example train.steps=100.")
]
RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file, a run folder, or a shipped recipe; see condistill ls.")
]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder; runs/NAME where not given.")]
Prompts = Annotated[
    str, typer.Option("--prompts", help="A file or URL: one prompt a line, or a table (csv, jsonl, parquet).")
]
AutoBatch = Annotated[
    bool, typer.Option("--auto-batch", help="Where memory runs out, halve train.micro_batch and go on; same results.")
]
Compile = Annotated[bool, typer.Option("--compile", help="Run both networks' blocks as code of torch.compile.")]
Init = Annotated[str, typer.Option("--init", help="Weights: inherit, slice or random.")]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Sampling steps; the pipeline's own where not given.")
]
Guidance = Annotated[
    float | None, typer.Option("--guidance", help="Guidance scale; the pipeline's own where not given.")
]


def with_flags(overrides: list[str] | None, **flags: bool) -> list[str]:
    """The overrides, and those that flags like `--auto-batch` stand for.

    >>> with_flags(["train.steps=9"], auto_batch=True, compile=False)
    ['train.steps=9', 'train.auto_batch=true']
    """
    return [*(overrides or ()), *(f"train.{name}=true" for name, is_asked in flags.items() if is_asked)]


def call_of(steps: int | None, guidance: float | None) -> dict[str, Any]:
    """The pipeline's arguments that were given."""
    given: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance}
    return {name: value for name, value in given.items() if value is not None}


def words(given: list[str] | None) -> list[str] | None:
    """Words given one by one or separated by commas; None where none were.

    >>> words(["fid,kid", "recall"]), words(None)
    (['fid', 'kid', 'recall'], None)
    """
    found = [word.strip() for text in given or () for word in text.split(",") if word.strip()]
    return found or None


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE, each given once.

    Raises:
        UserError: a text without "=".

    >>> pairs(["clip=/weights/clip"], "--backbone")
    {'clip': '/weights/clip'}
    """
    found: dict[str, str] = {}
    for text in given or ():
        name, separator, value = text.partition("=")
        if not (separator and name and value):
            raise UserError(f"{option} {text!r} is no NAME=VALUE; for example {option} inception=weights.safetensors")
        found[name] = value
    return found
