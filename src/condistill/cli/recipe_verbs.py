"""What the verbs that carry out a recipe share: its folder, its run, and what is said when it is stopped."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from condistill.cli.output import emit, note, nothing_printed, table
from condistill.cli.stopping import keeping

if TYPE_CHECKING:
    from condistill.recipes.run import Finished, Run


@contextlib.contextmanager
def opened(verb: str, recipe: str, overrides: Sequence[str] | None, out: Path | None) -> Iterator[Run]:
    """The run of a recipe, ready to be made or continued; stopping it says how to go on."""
    from condistill.recipes.dump import opening_comments
    from condistill.recipes.load import default_folder, find, load_recipe

    folder = out or default_folder(recipe)
    named = [] if verb == "demo" else [recipe]
    again = shlex.join(["condistill", verb, *named, *(overrides or ()), "--out", str(folder)])
    with keeping(f"everything finished is kept in {folder}; to go on: {again}"), nothing_printed():
        loaded = load_recipe(recipe, overrides or ())

        from condistill.recipes.run import Run

        comments = opening_comments(find(recipe).read_text(encoding="utf-8"))
        yield Run(loaded, folder, comments=comments, say=note)


def carry_out(verb: str, recipe: str, overrides: Sequence[str] | None, out: Path | None, *, as_json: bool) -> None:
    """Makes or continues the whole run and prints what came out."""
    start = time.monotonic()
    with opened(verb, recipe, overrides, out) as one:
        from condistill.recipes.plan import outlook_of_run

        if ahead := outlook_of_run(one):
            note(f"outlook: {ahead.line()}")
        finished = one.all()
    seconds = time.monotonic() - start
    results = finished.results.to_json() if finished.results else None
    emit(
        {"folder": finished.folder, "students": finished.students, "report": finished.report, "results": results}
        | {"done_before": finished.done_before, "seconds": seconds},
        _scores(finished, seconds=seconds),
        as_json=as_json,
    )


def _scores(finished: Finished, *, seconds: float) -> list[str]:
    """What a finished run prints: the table, the file to open and the time."""
    from condistill.progress import duration

    lines = [] if finished.results is None else [*table(finished.results.table()), ""]
    students = [f"student  {folder}" for folder in finished.students.values()]
    page = [f"open     {finished.report}"] if finished.report else []
    return [*lines, *students, *page, f"took     {duration(seconds)}"]
