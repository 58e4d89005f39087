"""A student of another teacher is refused before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condistill import Teacher, UserError, distill, generate
from tests import tiny


@pytest.mark.parametrize("other", [tiny.dit, tiny.sdxl, lambda: tiny.sd(layers_per_block=3)], ids=["dit", "sdxl", "sd"])
def test_student_of_another_teacher_is_refused(other: Callable[[], Any], tmp_path: Path) -> None:
    teacher = Teacher.from_pipeline(tiny.sd())
    cache = generate(teacher, ["a", "b"], out=tmp_path / "d", call={"num_inference_steps": 2}, progress=False)
    student = Teacher.from_pipeline(other()).student("depth=0.5")
    with pytest.raises(UserError, match="is not one of this teacher"):
        distill(teacher, student, cache, p_random=0.5, steps=1, batch=2, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "checkpoints").exists()
