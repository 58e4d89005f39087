"""Gradient checkpointing on "auto": taken where the micro-batch does not fit without, and kept for the whole run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from condistill import Teacher, UserError
from condistill.memory import usable_bytes
from condistill.students.footprint import footprint
from condistill.students.meta import clean
from condistill.train.checkpointing import LIBRARIES, bytes_of_sample, is_checkpointed, student_bytes
from condistill.train.log import Log
from condistill.train.options import TrainOptions
from tests import tiny


def test_auto_recomputes_only_where_the_micro_batch_does_not_fit(tmp_path: Path) -> None:
    teacher, log = Teacher.from_pipeline(tiny.dit()), tmp_path / "log.jsonl"
    student = teacher.student("depth=0.5")
    found = footprint(
        type(student.network), clean(student.network.config), inputs=teacher.example(), taps=student.plan.taps
    )
    assert found is not None
    parameters = sum(p.numel() for p in student.network.parameters())
    weights = sum(p.nbytes for p in teacher.network.parameters()) + sum(
        p.nbytes for p in teacher.pipeline.vae.parameters()
    )
    by_hand = LIBRARIES + weights + student_bytes(parameters, is_half=False)

    def asked(room: int, *students: Teacher, **changes: object) -> bool:
        options = TrainOptions(**{"steps": 1, "batch": 8, "gradient_checkpointing": "auto", **changes})  # type: ignore[arg-type]
        return is_checkpointed(options, teacher, students or [student], before=log, room=room)

    fits = by_hand + 8 * bytes_of_sample(found, is_half=False)
    assert not asked(fits) and asked(fits - 1)
    assert not asked(by_hand + 2 * bytes_of_sample(found, is_half=False), micro_batch=2)
    assert asked(fits, student, teacher.student("depth=0.5"))
    assert asked(0, gradient_checkpointing=True) and not asked(0, gradient_checkpointing=False)
    Log(log).write({"event": "start", "step": 0, "train": {"gradient_checkpointing": False}})
    assert not asked(0)  # a run goes on as it was started
    assert usable_bytes(torch.device("cpu")) > LIBRARIES
    with pytest.raises(UserError, match="true, false or auto"):
        TrainOptions(steps=1, gradient_checkpointing="yes")  # type: ignore[arg-type]
