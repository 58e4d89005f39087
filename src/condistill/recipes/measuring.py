"""Evaluation of any pipelines, without a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError
from condistill.files import read_json, sweep, write_json
from condistill.lock import alone
from condistill.recipes.dump import differences, listed
from condistill.recipes.finished import RESULTS, folder_hash
from condistill.recipes.folders import new_folder

if TYPE_CHECKING:
    from condistill.evaluate import Results

ASKED = "evaluation.json"  # what the folder of an evaluation was asked for


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
        out: a new folder for results.json and samples/, or one in which the same was begun, which is then gone on with.
        student_call: what all but the first are called with beside `call`.
        options: see `condistill.evaluate`.

    Raises:
        UserError: no such pipeline or file, no prompts, a folder that holds results already.
    """
    from condistill.corpus import corpus
    from condistill.evaluate import Results, evaluate
    from condistill.evaluate.evaluation import names_of
    from condistill.teacher.loading import resolve

    found = [resolve(pipeline) for pipeline in pipelines]  # all of them before the first is loaded
    named = names_of(pipelines)
    calls = {name: student_call for name in list(named)[1:]} if student_call else {}
    options = {**options, "reference": reference, "calls": calls}
    if out is None:
        return evaluate(named, corpus(prompts), **options)
    hashes = [folder_hash(one) if isinstance(one, Path) else one for one in found]
    asked = {"pipelines": list(map(str, pipelines)), "weights": hashes, "prompts": corpus(prompts).describe()}
    with _claimed(Path(out), {**asked, **options}):
        if (Path(out) / RESULTS).is_file():
            return Results.load(out)
        return evaluate(named, corpus(prompts), out=out, **options)


@contextmanager
def _claimed(out: Path, asked: Mapping[str, Any]) -> Iterator[None]:
    """A block in which the folder is ours alone, new or begun with the same request.

    Raises:
        UserError: something else is in it, or somebody at work.
    """
    file, plain = out / ASKED, json.loads(json.dumps(asked, default=str, sort_keys=True))
    if file.is_file():
        changed = differences(read_json(file), plain)
        if changed:
            raise UserError(
                f"{out} holds another evaluation ({listed(changed)}); nothing was touched, choose another --out"
            )
    else:
        new_folder(out)
    with alone(out):
        write_json(file, plain)
        sweep(out, out / "samples")
        yield


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
