"""The typer application, put together from the files in `verbs/`."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from typing import Annotated, Any

import typer

from condistill import __version__
from condistill.cli import verbs

START, RECIPES, STEPS = "Start here", "Recipes", "Single steps"
PANELS = (START, RECIPES, STEPS)


def verb_names() -> list[str]:
    """The names of all verbs, from the files in `verbs/`."""
    return sorted(module.name for module in pkgutil.iter_modules(verbs.__path__))


def build() -> typer.Typer:
    """The application with every verb in it, panel by panel."""
    app = typer.Typer(
        name="condistill",
        help="Make a conditional diffusion model smaller without a single training image.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    found = [importlib.import_module(f"{verbs.__name__}.{name}") for name in verb_names()]
    for module in sorted(found, key=lambda module: (PANELS.index(module.PANEL), getattr(module, "ORDER", 99))):
        name = module.__name__.rpartition(".")[2]
        app.command(name, rich_help_panel=module.PANEL, help=_help(getattr(module, name)))(getattr(module, name))
    return app


def _help(function: Any) -> str:
    return inspect.cleandoc(function.__doc__ or "")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"condistill {__version__}")
        raise typer.Exit()


def _global_options(
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="CPU threads to compute with; 0 leaves the choice to torch.")
    ] = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if threads:
        # read by OpenMP when torch is first imported, which is later than this
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
