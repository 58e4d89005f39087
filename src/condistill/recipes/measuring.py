"""Evaluation of any pipelines, without a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError
from condistill.recipes.folders import new_folder

if TYPE_CHECKING:
    from condistill.evaluate import Results


def measure(
    pipelines: Sequence[str | Path],
    prompts: Any,
    *,
    reference: str | Path | None = None,
    out: str | Path | None = None,
    student_call: Mapping[str, Any] | None = None,
    **options: Any,
) -> Results:
    """The scores of `pipelines`, the teacher first, on the same prompts and seeds.

    Args:
        pipelines: folders, embedded names or hub ids.
        prompts: a corpus spec.
        reference: a folder of images, or an .npz file: pytorch-fid's mu and sigma, or group -> images (m, h, w, 3),
            uint8 or float in [0, 1].
        out: a new folder for results.json and samples/.
        student_call: what all but the first are called with beside `call`.
        options: see `condistill.evaluate`.

    Raises:
        UserError: no such pipeline or file, no prompts, a folder that holds results already.
    """
    from condistill.corpus import corpus
    from condistill.evaluate import evaluate
    from condistill.evaluate.evaluation import names_of
    from condistill.teacher.loading import resolve

    for pipeline in pipelines:
        resolve(pipeline)  # all of them before the first is loaded
    if out is not None:
        new_folder(out)
    named = names_of(pipelines)
    calls = {name: student_call for name in list(named)[1:]} if student_call else {}
    return evaluate(named, corpus(prompts), reference=reference, out=out, calls=calls, **options)


def prompts_of(pipeline: str | Path, file: str | Path | None) -> Any:
    """The corpus spec of the prompts for a pipeline: the file, or an embedded world's own.

    Raises:
        UserError: no file, and no embedded world.
    """
    from condistill.teacher.loading import EMBEDDED, resolve

    resolve(pipeline)
    if file is not None:
        return str(file)
    if str(pipeline) not in EMBEDDED:
        raise UserError(f"{pipeline} has no prompts of its own; give some with --prompts FILE")
    return {"world": str(pipeline), "group": "all"}
