"""Evaluation of any pipelines, without a recipe."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    **options: Any,
) -> Results:
    """The scores of `pipelines`, the teacher first, on the same prompts and seeds.

    Args:
        pipelines: folders, embedded names or hub ids.
        prompts: a corpus spec.
        reference: an .npz file: group -> images (m, h, w, 3), uint8 or float in [0, 1].
        out: a new folder for results.json and samples/.
        options: see `condistill.evaluate`.

    Raises:
        UserError: no such pipeline or file, no prompts, a folder that holds results already.
    """
    from condistill.corpus import corpus
    from condistill.evaluate import evaluate
    from condistill.teacher.loading import resolve

    for pipeline in pipelines:
        resolve(pipeline)  # all of them before the first is loaded
    if out is not None:
        new_folder(out)
    images = None if reference is None else _images(Path(reference))
    return evaluate(list(pipelines), corpus(prompts), reference=images, out=out, **options)


def prompts_of(pipeline: str | Path, file: Path | None) -> Any:
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


def _images(file: Path) -> Mapping[str, np.ndarray]:
    """Group -> images as floats in [0, 1]."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"no such reference file: {file}") from None
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is no .npz archive of images ({error}); write one with numpy.savez") from error
    for group, images in found.items():
        if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
            raise UserError(f"{file}: {group} has shape {images.shape}; images of shape (m, h, w, 3) are wanted")
    return {g: a.astype(np.float32) / (255 if a.dtype == np.uint8 else 1) for g, a in found.items()}
