"""What a recipe may say: the sections, their defaults and their limits.

Types and limits only; whether a name exists (a p(t), a preset, a metric) is checked in `check.py`, where it can be
looked up. The models are read and unpacked by `run.py`; they never enter the engine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from condistill.errors import UserError, nearest

Spec = Any  # a corpus spec or p(t) spec: checked by the code that reads it
PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]  # as TrainOptions has it: samples are numbered in 63 bits
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Weight = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]

# a section that may be given as one word or number, and what that then means: `student: b-base`
SHORTHAND = {"teacher": "load", "student": "spec"}
ARM_SECTIONS = ("student", "p_random", "swap", "loss", "train", "data")


class Section(BaseModel):
    """A mapping of known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        shorthand = SHORTHAND.get(cls.__name__.removesuffix("Section").lower())
        if shorthand and isinstance(values, str):
            return {shorthand: values}
        if not isinstance(values, Mapping):
            raise UserError(f"must be a mapping of {', '.join(cls.model_fields)}, got {values!r}")
        for key in values:
            if key not in cls.model_fields:
                raise UnknownKey(str(key), list(cls.model_fields))
        return values


class UnknownKey(UserError):
    """A key that the section does not have."""

    def __init__(self, key: str, known: list[str]):
        self.key, self.known = key, known
        super().__init__(key)

    def said(self, section: str) -> str:
        """The message, naming the section and the nearest key."""
        guess = nearest(self.key, self.known)
        hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(self.known)}"
        return f"unknown key {self.key!r} in {section} ({hint})"


class TeacherSection(Section):
    """Which pipeline is the teacher, and how it is loaded."""

    load: Annotated[str, Field(min_length=1)]
    component: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    kwargs: dict[str, Any] = {}


class StudentSection(Section):
    """What the student is: a preset or rule, and where its weights come from."""

    spec: str | dict[str, Any]
    init: Literal["inherit", "slice", "random"] = "inherit"
    seed: Seed = 0


class DataSection(Section):
    """What D (latents of the teacher) is made of, and C (the texts that conditions are drawn from)."""

    prompts: Spec
    corpus: Spec = None
    num_items: PositiveInt | None = None
    seed: Seed = 0
    cache: str | None = None
    call: dict[str, Any] = {}
    batch: PositiveInt = 16
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    shard_items: PositiveInt = 256


class LossSection(Section):
    """Weights of the terms (see `LossWeights`), and how often the null condition is seen."""

    output: Weight = 1.0
    feature: Weight = 1.0
    task: Weight = 0.0
    guidance: Weight = 1.0
    taps: Literal["sum", "relative"] | dict[str, Weight] = "sum"
    p_null: Probability = 0.1


class TrainSection(Section):
    """The training loop, as `condistill.train.TrainOptions` says it; `batch` is the total over all processes."""

    steps: PositiveInt
    batch: PositiveInt = 256
    micro_batch: PositiveInt | None = None
    auto_batch: bool = False
    skip_not_finite: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0)] = 5e-5
    lr_schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    betas: Annotated[tuple[Decay, Decay], Field(strict=False)] = (0.9, 0.999)
    weight_decay: Weight = 0.01
    clip: Weight = 1.0
    ema: Decay = 0.9999
    precision: Literal["no", "bf16", "fp16"] = "no"
    teacher_precision: Literal["no", "bf16"] = "no"
    gradient_checkpointing: bool | Literal["auto"] = False
    channels_last: bool = False
    compile: bool | Literal["auto"] = False
    seed: Seed = 0
    checkpoint_every: PositiveInt = 1000
    keep_checkpoints: PositiveInt = 2
    log_every: PositiveInt = 10
    save: Literal["ema", "raw"] = "ema"
    trackers: str | list[str] = "auto"
    validate_every: PositiveInt | None = None
    validate_prompts: dict[str, list[Any]] | list[Any] | None = None


class EvaluateSection(Section):
    """What is measured on teacher and students after training."""

    protocol: str | None = None
    prompts: Annotated[dict[str, Spec], Field(min_length=1)]
    metrics: Annotated[list[str], Field(min_length=1)] | None = None
    num_items: dict[str, PositiveInt] = {}
    seed: Seed = 1
    call: dict[str, Any] = {}
    calls: dict[str, dict[str, Any]] = {}
    batch: PositiveInt = 32
    reference: str | dict[str, str] | None = None
    backbones: dict[str, str] = {}
    grid: Annotated[int, Field(ge=0)] = 8
    latency: bool = True


class Recipe(Section):
    """Everything one run needs, resolved: what is not said has its default here."""

    name: str
    teacher: TeacherSection
    student: StudentSection
    data: DataSection
    p_random: Spec = "exponential"
    swap: Spec = "uniform"
    loss: LossSection = LossSection()
    train: TrainSection
    evaluate: EvaluateSection | None = None
    compare: dict[str, dict[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("name") is None:
            # "without" says that its counterpart is the one with random conditioning
            compared = values.get("compare") or {}
            return {**values, "compare": compared, "name": "with" if "without" in compared else "student"}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for name in (self.name, *self.compare):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name == "teacher":
                raise UserError(f"name {name!r} must be a word of letters, digits, '-', '_' and '.', and not 'teacher'")
        if self.name in self.compare:
            raise UserError(f"compare has an arm {self.name!r}, which is the name of the run itself; rename one")
        for arm, changes in self.compare.items():
            for key in changes:
                if key not in ARM_SECTIONS:
                    raise UserError(str(UnknownKey(key, list(ARM_SECTIONS)).said(f"compare.{arm}")))
            if set(changes.get("data") or {}) - {"corpus"}:
                raise UserError(f"compare.{arm}.data may only change corpus: all arms share the images in D")
        # a micro-batch above the batch is the batch
        if self.train.micro_batch and self.train.batch % min(self.train.micro_batch, self.train.batch):
            fits = math.gcd(self.train.batch, self.train.micro_batch)
            raise UserError(
                f"train.batch {self.train.batch} is no multiple of train.micro_batch {self.train.micro_batch}; "
                f"set train.micro_batch={fits}, or null to take the batch whole"
            )
        if not (self.loss.output or self.loss.feature or self.loss.task):
            raise UserError("loss has no term: output, feature and task are all 0; give one of them a weight")
        if self.evaluate:
            for group in self.evaluate.num_items:
                if group not in self.evaluate.prompts:
                    raise UserError(UnknownKey(group, list(self.evaluate.prompts)).said("evaluate.num_items"))
        return self


def checked(values: Any, *, name: str) -> Recipe:
    """`values` as a recipe.

    Args:
        name: the recipe's file or name, for messages.

    Raises:
        UserError: the first thing that is wrong, in one line, with its place and the nearest known name.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as errors:
        raise UserError(f"{name}: {_said(_first(errors.errors()))}") from None


def _first(errors: list[Any]) -> Any:
    """The first thing that is wrong; what several kinds of values would be right for, with all of them."""
    first = errors[0]
    place = first["loc"][:-1]
    kinds = [one for one in errors if one["loc"][:-1] == place]
    if not any(str(part).startswith("literal[") for one in kinds for part in one["loc"][-1:]):
        return first
    first_said, *others = (one["msg"].removeprefix("Input should be ") for one in kinds)
    return {**first, "loc": place, "msg": f"Input should be {' or '.join([first_said, *others])}"}


def _said(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, UnknownKey):
        return cause.said(place or "recipe")
    if isinstance(cause, UserError):
        return f"{place} {cause}" if place else str(cause)
    if error["type"] == "missing":
        return f"{place} is missing; it has no default"
    message = error["msg"].replace("Input should be", "must be")
    return f"{place} {message[0].lower()}{message[1:]}, got {_short(error['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
