"""Teacher and students on the same noisy inputs: one pass of the teacher serves all students."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from condistill.errors import UserError
from condistill.evaluate.items import Items
from condistill.maths import draws
from condistill.maths.distances import mse_per_sample

if TYPE_CHECKING:
    from condistill.teacher import Teacher

NUM_LEVELS = 10


def levels(teacher: Teacher, num_levels: int = NUM_LEVELS) -> tuple[Tensor, Float[np.ndarray, " k"]]:
    """Times t (k,) in the middle of k equal parts of the training distribution, and their u (k,), rising."""
    t = teacher.noise_path.times((torch.arange(num_levels) + 0.5) / num_levels)
    u = teacher.noise_path.u(t)
    order = torch.argsort(u)
    return t[order], u[order].double().numpy()


@torch.no_grad()
def errors(
    teacher: Teacher,
    students: Mapping[str, Teacher],
    items: Items,
    *,
    x0: Float[Tensor, "n *latent"],
    bound: Mapping[str, Tensor],
    seed: int,
    batch: int,
    advance: Callable[[int], None],
) -> dict[str, Float[np.ndarray, "n k"]]:
    """Student -> (n, k): mean squared difference to the teacher's prediction, for n items at k noise levels.

    Item and level alone decide the noise, so neither batch nor the number of students changes a number.

    Args:
        teacher: predicts once per item and level.
        students: name -> student.
        items: the group.
        x0: the teacher's own samples of the items.
        bound: what belongs to each x0.
        seed: of the noise.
        batch: items per pass.
        advance: called with the number of items done.

    Raises:
        UserError: a prediction is not finite.
    """
    times, _ = levels(teacher)
    found = {name: np.zeros((len(items), len(times))) for name in students}
    for start in range(0, len(items), batch):
        rows = slice(start, min(start + batch, len(items)))
        numbers = draws.numbers(start, rows.stop - start)
        own = {path: value[rows] for path, value in bound.items()}
        conditions = {name: m.encode(items.keys[rows], own) for name, m in {"": teacher, **students}.items()}
        for k, time in enumerate(times):
            eps = draws.normal(seed, f"evaluate/noise/{items.group}/{k}", numbers, x0.shape[1:])
            t = time.expand(len(numbers))
            x_t = teacher.noise_path.add_noise(x0[rows], eps, t).to(teacher.device)
            wanted = teacher.predict(x_t, t.to(teacher.device), conditions[""])
            for name, student in students.items():
                got = student.predict(x_t.to(student.device), t.to(student.device), conditions[name])
                found[name][rows, k] = mse_per_sample(got, wanted.to(got.device)).double().cpu().numpy()
        for name, values in found.items():
            if not np.isfinite(values[rows]).all():
                raise UserError(f"model {name!r} predicts values that are not finite; leave it out or train it again")
        advance(len(numbers))
    return found
