"""A folder of pictures for a list of prompts, one seed per picture, continued if it was stopped."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.corpus import corpus
from condistill.errors import UserError
from condistill.files import read_json, write_atomic, write_json
from condistill.maths.draws import integers, numbers
from condistill.progress import Progress
from condistill.recipes.folders import new_folder

if TYPE_CHECKING:
    from condistill.teacher import Teacher

INDEX = "index.json"
BATCH = 16


def sample_folder(
    pipeline: str | Path, prompts: Any, *, out: str | Path, seed: int = 0, call: Mapping[str, Any] | None = None
) -> Path:
    """The folder `out` with one PNG per prompt and an index.json of file, prompt and seed.

    Picture k depends only on (seed, k) and its prompt. Run again with the same arguments, only what is missing is made.

    Args:
        pipeline: embedded name, folder or hub id.
        prompts: a corpus spec: a file, a list of keys, a mapping.
        out: a new folder, or one that this function made with the same arguments.
        seed: of all pictures.
        call: the pipeline's own arguments (num_inference_steps, guidance_scale).

    Raises:
        UserError: no such pipeline or file, no prompts, a folder with something else in it, no pictures come out.
    """
    from condistill.teacher import Teacher
    from condistill.teacher.loading import resolve

    resolve(pipeline)  # before anything is written
    keys, out = corpus(prompts), Path(out)
    total = len(keys)
    seeds = [int(s) for s in integers(seed, "sample", numbers(0, total), 2**48)]
    made_with = {"pipeline": str(pipeline), "seed": seed, "call": dict(call or {})}
    images = [{"file": f"{k:06d}.png", "prompt": keys[k], "seed": seeds[k]} for k in range(total)]
    _claim(out, {**made_with, "images": images})
    missing = [k for k, image in enumerate(images) if not (out / image["file"]).is_file()]
    teacher = Teacher.load(pipeline) if missing else None
    with Progress("sampling", total, unit="images", done=total - len(missing), enabled=bool(missing)) as bar:
        for start in range(0, len(missing), BATCH):
            some = missing[start : start + BATCH]
            assert teacher is not None
            pictures = _pictures(teacher, [keys[k] for k in some], [seeds[k] for k in some], made_with["call"])
            for k, picture in zip(some, pictures, strict=True):
                write_atomic(out / images[k]["file"], picture)
            bar.advance(len(some))
    return out


def _claim(out: Path, index: Mapping[str, Any]) -> None:
    file = out / INDEX
    if file.is_file():
        if read_json(file) != json.loads(json.dumps(index)):
            raise UserError(
                f"{out} holds pictures of other prompts or settings; nothing was touched, choose another --out"
            )
        return
    new_folder(out)
    write_json(file, index)


def _pictures(teacher: Teacher, keys: list[Any], seeds: list[int], call: Mapping[str, Any]) -> list[bytes]:
    from PIL import Image

    made = teacher.sample(keys, seed=seeds, call=call, output="np", batch=len(keys)).images
    if made is None or made.ndim != 4:
        raise UserError(
            f"{type(teacher.pipeline).__name__} gives no pictures; condistill sample writes pictures only, and "
            "condistill run keeps samples of sounds as well (evaluate.grid)"
        )
    found = []
    for image in (made.clip(0, 1) * 255).round().astype("uint8"):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        found.append(stream.getvalue())
    return found
