"""Gradient checkpointing where memory asks for it: the bytes that training takes on a device, against what is there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from condistill import processes
from condistill.files import GIB
from condistill.memory import usable_bytes
from condistill.students.footprint import Footprint, footprint
from condistill.students.meta import clean
from condistill.teacher.running import networks
from condistill.train.log import Log
from condistill.train.options import TrainOptions

LIBRARIES = int(0.7 * GIB)  # of the process itself, or a GPU's context
# of what a sample keeps in float32, under autocast: measured on a small U-Net of SD 1.4's layout on a CPU, 2026-11-24
AUTOCAST_SHARE = 0.6
WEIGHTS_IN_TRAINING = 20  # bytes a parameter of the student: float32 weights, gradient, EMA and both of Adam's moments


def student_bytes(parameters: int, *, is_half: bool) -> int:
    """What a student takes whatever the micro-batch: weights, gradient, EMA and moments, and autocast's copies."""
    return parameters * (WEIGHTS_IN_TRAINING + (2 if is_half else 0))


def bytes_of_sample(found: Footprint, *, is_half: bool) -> int:
    """What one sample of a micro-batch adds."""
    return int(found.total * (AUTOCAST_SHARE if is_half else 1.0))


def is_checkpointed(
    options: TrainOptions, teacher: Any, students: Sequence[Any], *, before: Path, room: int | None = None
) -> bool:
    """Whether a run computes activations again: as asked, or, for "auto", where its micro-batch does not fit without.

    Args:
        options: of the run.
        teacher, students: of the run.
        before: the log of the run; one that was "auto" goes on as it was started.
        room: bytes that the run may take; those of the teacher's device if not given.
    """
    asked = options.gradient_checkpointing
    if asked != "auto":
        return asked
    if (started := Log(before).started_with()) is not None:
        return bool(started.get("gradient_checkpointing"))
    if not all(getattr(one.network, "_supports_gradient_checkpointing", False) for one in students):
        return False
    needed = _needed(options, teacher, students)
    if needed is None:
        warnings.warn(
            "train.gradient_checkpointing=auto: what a sample of this network takes is not known, so nothing is "
            "computed again; where memory runs out, set it to true",
            stacklevel=2,
        )
        return False
    return processes.any_of(needed > (usable_bytes(teacher.device) if room is None else room))


def _needed(options: TrainOptions, teacher: Any, students: Sequence[Any]) -> int | None:
    """Bytes without checkpointing, at the micro-batch of the run; None where not known."""
    is_half, inputs = options.precision != "no", teacher.example()
    samples = []
    for one in students:
        given = one.example() if one.plan is not None and one.plan.fed_anew else inputs
        taps = one.plan.taps if one.plan is not None else ()
        samples.append(footprint(type(one.network), clean(one.network.config), inputs=given, taps=taps))
    share = options.batch // processes.count()
    micro = min(options.micro_batch or share, share)
    fixed = LIBRARIES + sum(_stored(part) for part in networks(teacher.pipeline).values())
    if options.teacher_precision != "no" or options.channels_last:  # the copy that is asked
        asked = _stored(teacher.network)
        fixed += min(asked, 2 * _parameters(teacher.network)) if options.teacher_precision != "no" else asked
    fixed += sum(student_bytes(_parameters(one.network), is_half=is_half) for one in students)
    known = [bytes_of_sample(one, is_half=is_half) for one in samples if one is not None]
    return fixed + micro * sum(known) if len(known) == len(samples) else None


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _stored(network: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in network.parameters())
