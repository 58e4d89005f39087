"""What goes wrong inside a step: a loss that is not finite, and memory that does not suffice."""

from __future__ import annotations

import torch

from condistill.distill.losses import Terms
from condistill.distill.step import Drawn
from condistill.errors import UserError
from condistill.train.options import TrainOptions


def not_finite(terms: Terms, drawn: Drawn) -> str:
    """Which term is not finite, and in which timestep bin; "" if all are."""
    if bool(torch.isfinite(terms.loss)):
        return ""
    found = {"output": terms.output, **{f"feature {name}": value for name, value in terms.taps.items()}}
    if terms.task is not None:
        found["task"] = terms.task
    for name, value in found.items():
        bad = ~torch.isfinite(value.cpu())
        if bad.any():
            low = int(drawn.u[bad][0] * 10) / 10
            return f"term {name}, timesteps u in [{low:.1f}, {low + 0.1:.1f})"
    return "the sum of its terms overflowed"


def refuse_not_finite(name: str, why: str, *, step: int, num_skipped: int, options: TrainOptions) -> None:
    """Nothing, if a step of student `name` that is not finite may be skipped. Its weights are still good.

    Raises:
        UserError: no more steps may be skipped; names the step, the term and the timestep bin.
    """
    if num_skipped < options.skip_not_finite:
        return
    spent = f" ({num_skipped} steps were skipped before)" if num_skipped else ""
    raise UserError(
        f"the loss of student {name} is not finite at step {step}: {why}{spent}; the last checkpoint is kept: lower "
        "train.lr, use precision no, or allow some such steps to be skipped with train.skip_not_finite"
    )


def largest_divisor(share: int, most: int) -> int:
    """The largest divisor of `share` that is at most `most`; 0 if there is none.

    >>> largest_divisor(256, 40), largest_divisor(30, 29), largest_divisor(8, 0)
    (32, 15, 0)
    """
    return max((k for k in range(1, min(share, most) + 1) if share % k == 0), default=0)


def smaller(micro: int, *, share: int, step: int, num_processes: int, is_auto: bool) -> int:
    """The micro-batch to go on with after memory ran out: the largest that divides the share and is at most half of it.

    Raises:
        UserError: the micro-batch is not to be chosen here, or it is one sample already; says which settings to change.
    """
    less = largest_divisor(share, micro // 2)
    said = f"out of memory at step {step} with {micro} samples at once; the last checkpoint is kept"
    others = "train.gradient_checkpointing=true, train.precision=bf16 or train.teacher_precision=bf16"
    if less == 0:
        raise UserError(f"{said}: fewer are not possible; try {others}, or a smaller student")
    if is_auto and num_processes == 1:
        return less
    alone = "" if not is_auto else " (with several processes the micro-batch is not chosen by itself)"
    by_itself = ", or let --auto-batch find it" if num_processes == 1 else ""
    raise UserError(
        f"{said}{alone}: set train.micro_batch={less}{by_itself} (the batch in all, the draws and the results stay the "
        f"same up to the order of summation), or {others}"
    )
