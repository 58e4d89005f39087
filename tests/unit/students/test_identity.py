"""The student that is the teacher: every loss is exactly 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from condistill import Teacher, UserError
from condistill.cache.batch import Batch
from condistill.corpus import corpus
from condistill.distill import Method, Pupil, distillation_step, draw
from condistill.maths import p_random
from condistill.maths.draws import numbers
from condistill.students.scoring import resolved
from tests.tiny.pipelines import dit, sd

TEACHERS: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "sd": (sd, ["a cat", "a dog"]),
    "dit": (dit, [1, 2]),
}


@pytest.mark.parametrize("spec", [{"depth": 1.0}, "width=1.0", {"depth": 1, "width": 1.0}])
@pytest.mark.parametrize("name", TEACHERS)
def test_losses_of_the_identity_are_zero(name: str, spec: Any) -> None:
    build, keys = TEACHERS[name]
    teacher = Teacher.from_pipeline(build())
    student = teacher.student(spec)
    assert student.plan is not None and {origin.kind for origin in student.plan.origins.values()} == {"inherited"}
    assert resolved(spec, teacher, None) == spec
    x0 = torch.randn(2, *teacher.latent_shape, generator=torch.Generator().manual_seed(0))
    method = Method(p_random=p_random("exponential"), corpus=corpus(keys), null_key=teacher.null_key)
    batch = Batch(x0=x0, keys=tuple(keys), bound={})
    drawn = draw(batch, numbers(0, 2), method, teacher.noise_path)
    pupil = Pupil(student.network, student.plan.taps, seed=0)
    (terms,) = distillation_step(teacher, [pupil], batch, drawn, method=method, network=teacher.network)
    assert float(terms.loss.detach()) == 0.0 and not terms.output.any()
    assert len(terms.taps) == len(student.plan.taps) > 0
    assert not any(loss.any() for loss in terms.taps.values())


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("spec", ["depth=0.99", {"depth": 0.99}, "width=0.99"])
def test_a_share_that_takes_nothing_is_no_identity(name: str, spec: Any) -> None:
    with pytest.raises(UserError, match=r"cuts nothing|possible: width="):
        Teacher.from_pipeline(TEACHERS[name][0]()).student(spec)
