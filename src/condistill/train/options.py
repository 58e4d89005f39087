"""What a training run may be told, with the paper's values as defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from condistill.errors import UserError

# may differ between two starts of one run: they do not change a single number of it
FREE_TO_CHANGE = (
    "steps",
    "checkpoint_every",
    "keep_checkpoints",
    "log_every",
    "micro_batch",
    "auto_batch",
    "skip_not_finite",
    "trackers",
    "validate_every",
    "validate_prompts",
)


LARGEST = 2**31 - 1  # steps x batch counts the samples, whose numbers have 63 bits


@dataclass(frozen=True)
class TrainOptions:
    """Options of the loop. Defaults: arXiv 2504.02011's training recipe, but for `steps`, which has none.

    Attributes:
        steps: optimiser steps in all.
        batch: samples per step over all processes and micro-batches.
        micro_batch: samples per forward pass, at most; None takes a process's whole share at once.
        auto_batch: where memory runs out, halve the micro-batch and go on with the same step.
        skip_not_finite: how many steps whose loss or gradient is not finite may be skipped in a run; the next stops it.
        lr: peak learning rate of AdamW.
        lr_schedule: "constant" or "cosine" (down to 0 at the last step), after `warmup_steps` of linear warm-up.
        betas, weight_decay: of AdamW.
        clip: largest gradient norm; 0 for none.
        ema: largest decay of the exponential moving average; early steps use (1 + step) / (10 + step) where smaller.
        precision: "no" (float32), "bf16" or "fp16" autocast of the student.
        teacher_precision: "no" or "bf16"; the teacher's targets from a copy of its weights in that precision.
        gradient_checkpointing: recompute the student's activations in the backward pass; "auto": where the micro-batch
            does not fit without.
        channels_last: memory layout of both networks' convolutions; changes speed, not the method.
        compile: run the blocks of both networks as code that torch.compile makes of them; "auto": where the steps are
            many enough for it to pay.
        seed: of everything drawn.
        checkpoint_every, keep_checkpoints, log_every: in steps; how many checkpoints to keep.
        save: "ema" or "raw": which weights are saved, and therefore evaluated.
        p_null: probability of the null condition.
        trackers: where the run is shown as well: "auto" (TensorBoard where it is installed), "none", or names of
            accelerate's trackers, one or a list; in Python also trackers themselves.
        validate_every: after so many steps teacher and students draw for the same prompts and seeds; None for never.
        validate_prompts: those prompts, group -> keys or a list; None takes some of D, and of C some that D lacks.
    """

    steps: int
    batch: int = 256
    micro_batch: int | None = None
    auto_batch: bool = False
    skip_not_finite: int = 0
    lr: float = 5e-5
    lr_schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-2
    clip: float = 1.0
    ema: float = 0.9999
    precision: Literal["no", "bf16", "fp16"] = "no"
    teacher_precision: Literal["no", "bf16"] = "no"
    gradient_checkpointing: bool | Literal["auto"] = False
    channels_last: bool = False
    compile: bool | Literal["auto"] = False
    seed: int = 0
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    log_every: int = 10
    save: Literal["ema", "raw"] = "ema"
    p_null: float = 0.1
    trackers: Any = "auto"
    validate_every: int | None = None
    validate_prompts: Any = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint_every", "keep_checkpoints", "log_every"):
            if not 1 <= int(getattr(self, name)) <= LARGEST:
                raise UserError(f"train.{name} must be between 1 and {LARGEST}, got {getattr(self, name)}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise UserError(f"train.micro_batch must be at least 1, got {self.micro_batch}")
        if self.validate_every is not None and self.validate_every < 1:
            raise UserError(f"train.validate_every must be at least 1, got {self.validate_every}")
        if self.validate_prompts is not None and self.validate_every is None:
            raise UserError("train.validate_prompts has no effect without train.validate_every; give both or neither")
        if self.skip_not_finite < 0:
            raise UserError(f"train.skip_not_finite must not be negative, got {self.skip_not_finite}")
        for name in ("ema", "p_null"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"train.{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("compile", "gradient_checkpointing"):
            if getattr(self, name) not in (True, False, "auto"):
                raise UserError(f"train.{name} must be true, false or auto, got {getattr(self, name)!r}")
        if not self.lr > 0:
            raise UserError(f"train.lr must be positive, got {self.lr}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(f"train.{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")


CHOICES = {
    "lr_schedule": ("constant", "cosine"),
    "precision": ("no", "bf16", "fp16"),
    "teacher_precision": ("no", "bf16"),
    "save": ("ema", "raw"),
}
