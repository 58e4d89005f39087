"""What a recipe asks for, in numbers: images, passes, samples, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.recipes.arms import arms
from condistill.recipes.paths import files_of
from condistill.recipes.schema import Recipe
from condistill.train.compiling import is_asked_for

DEFAULT_STEPS = 50  # of most pipelines; only where neither the recipe nor the pipeline says
UNKNOWN_IMAGES = 1000  # what D is counted for where its list of prompts is not here
COLUMN_SHARE = {".parquet": 2.0}  # of a file's size, as an Arrow column; text is about as large as its file


@dataclass(frozen=True)
class ArmWork:
    """One student's training.

    Attributes:
        name: of the arm.
        recipe: its own.
        teacher_passes: of the teacher for one sample: two where the target is guided.
    """

    name: str
    recipe: Recipe
    teacher_passes: int

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.recipe.train.steps

    @property
    def batch(self) -> int:
        """Samples in a step."""
        return self.recipe.train.batch

    @property
    def checkpoints(self) -> int:
        """How many are kept."""
        return self.recipe.train.keep_checkpoints

    @property
    def in_half_precision(self) -> bool:
        """Whether the student computes in 16 bits."""
        return self.recipe.train.precision != "no"

    @property
    def is_compiled(self) -> bool:
        """Whether its steps are compiled code."""
        return is_asked_for(self.recipe.train.compile, self.steps)

    @property
    def teacher_in_half(self) -> bool:
        """Whether the teacher answers in 16 bits."""
        train = self.recipe.train
        return self.in_half_precision or train.teacher_precision != "no" or self.recipe.teacher.dtype != "float32"


@dataclass(frozen=True)
class Work:
    """Everything the recipe asks for.

    Attributes:
        images: in D.
        passes_per_image: of the teacher, for one image of D.
        evaluated: images that every model makes in the evaluation.
        passes_per_evaluated: of a model for one of them.
        arms: the students.
        cache_dtype: of D.
        teacher_in_half: whether the teacher samples in 16 bits.
        corpus_bytes: of C's files as memory-mapped columns.
        notes: what is not known.
    """

    images: int
    passes_per_image: int
    evaluated: int
    passes_per_evaluated: int
    arms: tuple[ArmWork, ...]
    cache_dtype: str
    teacher_in_half: bool
    corpus_bytes: int
    notes: tuple[str, ...]


def work_of(recipe: Recipe, *, default_steps: int | None = None) -> Work:
    """What the recipe asks for; files that are not here are named in the notes.

    Args:
        default_steps: the pipeline's own number of sampling steps, where it is known.
    """
    notes: list[str] = []
    steps = default_steps or DEFAULT_STEPS
    if default_steps is None and "num_inference_steps" not in recipe.data.call:
        notes.append(f"data.call names no num_inference_steps; counted with {steps}")
    images = _images(recipe, notes)
    every = arms(recipe)
    specs = [recipe.data.prompts, *(arm.recipe.data.corpus for arm in every)]
    files = {file for spec in specs for file in files_of(spec)}
    return Work(
        images=images,
        passes_per_image=passes(recipe.data.call, steps),
        evaluated=_evaluated(recipe, notes),
        passes_per_evaluated=passes(recipe.evaluate.call if recipe.evaluate else {}, steps),
        arms=tuple(ArmWork(arm.name, arm.recipe, 2 if arm.recipe.loss.guidance != 1.0 else 1) for arm in every),
        cache_dtype=recipe.data.dtype,
        teacher_in_half=recipe.teacher.dtype != "float32",
        corpus_bytes=sum(_column_bytes(file) for file in files if file.is_file()),
        notes=tuple(notes),
    )


def passes(call: Mapping[str, Any], default_steps: int) -> int:
    """Passes of the denoiser for one image: its steps, twice where a scale of guidance asks for it or none is named.

    >>> passes({"num_inference_steps": 25, "guidance_scale": 1.0}, 50), passes({}, 50)
    (25, 100)
    """
    steps, scale = call.get("num_inference_steps", default_steps), call.get("guidance_scale")
    is_guided = scale is None or (isinstance(scale, int | float) and scale > 1)
    return int(steps) * (2 if is_guided else 1)


def _column_bytes(file: Path) -> int:
    return int(file.stat().st_size * COLUMN_SHARE.get(file.suffix.lower(), 1.0))


def _missing(spec: Any) -> Iterator[Path]:
    yield from (file for file in files_of(spec) if not file.is_file())


def _length(spec: Any) -> int:
    from condistill.corpus import corpus

    return len(corpus(spec))


def _images(recipe: Recipe, notes: list[str]) -> int:
    if recipe.data.num_items is not None:
        return recipe.data.num_items
    for file in _missing(recipe.data.prompts):
        notes.append(
            f"{file.name} is not here, so D is counted for {UNKNOWN_IMAGES:,} images; say data.num_items=N for yours"
        )
        return UNKNOWN_IMAGES
    return _length(recipe.data.prompts)


def _evaluated(recipe: Recipe, notes: list[str]) -> int:
    if recipe.evaluate is None:
        return 0
    total = 0
    for group, spec in recipe.evaluate.prompts.items():
        number = recipe.evaluate.num_items.get(group)
        missing = next(_missing(spec), None) if number is None else None
        if missing is not None:
            notes.append(f"{missing.name} is not here, so group {group} of the evaluation is not counted")
            continue
        try:
            total += number if number is not None else _length(spec)
        except UserError as error:
            notes.append(f"group {group} of the evaluation is not counted: {error}")
    return total
