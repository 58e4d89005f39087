"""A folder of samples for a list of prompts, one seed per sample, continued if it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.corpus import corpus
from condistill.errors import UserError
from condistill.evaluate.media import encoded
from condistill.files import read_json, write_atomic, write_json
from condistill.maths.draws import integers, numbers
from condistill.progress import Progress
from condistill.recipes.folders import new_folder
from condistill.teacher.cutting import report_cut

if TYPE_CHECKING:
    from condistill.teacher import Teacher

INDEX = "index.json"
BATCH = 16


def sample_folder(
    pipeline: str | Path, prompts: Any, *, out: str | Path, seed: int = 0, call: Mapping[str, Any] | None = None
) -> Path:
    """The folder `out` with one file per prompt (PNG, WAV or animated WebP) and an index.json of file, prompt and seed.

    Sample k depends only on (seed, k) and its prompt. Run again with the same arguments, only what is missing is made.

    Args:
        pipeline: embedded name, folder or hub id.
        prompts: a corpus spec: a file, a list of keys, a mapping.
        out: a new folder, or one that this function made with the same arguments.
        seed: of all samples.
        call: the pipeline's own arguments (num_inference_steps, guidance_scale).

    Raises:
        UserError: no such pipeline or file, no prompts, a folder with something else in it, samples that are no
            pictures, videos or sounds.
    """
    from condistill.teacher.loading import load_for, resolve

    resolve(pipeline)  # before anything is written
    keys, out = corpus(prompts), Path(out)
    total = len(keys)
    seeds = [int(s) for s in integers(seed, "sample", numbers(0, total), 2**48)]
    made_with = {"pipeline": str(pipeline), "seed": seed, "call": dict(call or {})}
    rows = [{"prompt": keys[k], "seed": seeds[k]} for k in range(total)]
    suffix = _suffix(out, {**made_with, "images": rows})
    missing = [k for k in range(total) if suffix is None or not (out / _name(k, suffix)).is_file()]
    teacher = load_for(pipeline, call, [keys[k] for k in range(min(3, total))]) if missing else None
    if teacher is not None:
        report_cut(teacher, keys, "prompts")
    with Progress("sampling", total, unit="images", done=total - len(missing), enabled=bool(missing)) as bar:
        for start in range(0, len(missing), BATCH):
            some = missing[start : start + BATCH]
            assert teacher is not None
            found, files = _files(teacher, [keys[k] for k in some], [seeds[k] for k in some], made_with["call"])
            if suffix is None:  # what comes out is known only now
                suffix = found
                named = [{"file": _name(k, suffix), **row} for k, row in enumerate(rows)]
                write_json(out / INDEX, {**made_with, "images": named})
            for k, content in zip(some, files, strict=True):
                write_atomic(out / _name(k, suffix), content)
            bar.advance(len(some))
    return out


def _name(k: int, suffix: str) -> str:
    return f"{k:06d}.{suffix}"


def _suffix(out: Path, index: Mapping[str, Any]) -> str | None:
    """The suffix of the files in a folder that was begun; None for a new one, which is made."""
    file = out / INDEX
    if not file.is_file():
        new_folder(out)
        return None
    there = read_json(file)
    try:
        suffixes = {row.pop("file").rpartition(".")[2] for row in there["images"]}
    except (TypeError, KeyError, AttributeError):
        suffixes = set()
    if there != json.loads(json.dumps(index)) or len(suffixes) != 1:
        raise UserError(f"{out} holds samples of other prompts or settings; nothing was touched, choose another --out")
    return suffixes.pop()


def _files(teacher: Teacher, keys: list[Any], seeds: list[int], call: Mapping[str, Any]) -> tuple[str, list[bytes]]:
    from condistill.evaluate.sounds import sampling_rate

    made = teacher.sample(keys, seed=seeds, call=call, output="np", batch=len(keys)).images
    found = None if made is None else encoded(made, rate=sampling_rate(teacher.pipeline, made))
    if found is None:
        raise UserError(
            f"{type(teacher.pipeline).__name__} gives no pictures, videos or sounds; use Teacher.sample in Python, "
            "which returns what comes out"
        )
    return found
