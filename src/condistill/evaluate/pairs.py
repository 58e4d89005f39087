"""Teacher and students on the same noisy inputs: one pass of the teacher serves all students."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from condistill import processes
from condistill.distill.losses import feature_mse
from condistill.errors import UserError
from condistill.evaluate.items import Items
from condistill.maths import draws
from condistill.maths.distances import mse_per_sample
from condistill.teacher.taps import taps

if TYPE_CHECKING:
    from condistill.students.plan import TapPair
    from condistill.teacher import Teacher

NUM_LEVELS = 10


@dataclass(frozen=True)
class Gaps:
    """What one student got wrong: of the prediction (n, k), and of the features at each of the teacher's taps."""

    output: Float[np.ndarray, "n k"]
    taps: Mapping[str, Float[np.ndarray, "n k"]]

    @classmethod
    def empty(cls, n: int, k: int, pairs: Sequence[TapPair] = ()) -> Gaps:
        """Zeros of that shape."""
        return cls(np.zeros((n, k)), {pair.teacher: np.zeros((n, k)) for pair in pairs})

    @classmethod
    def joined(cls, parts: Sequence[Gaps]) -> Gaps:
        """The rows of the parts one after the other."""
        taps = {name: np.concatenate([part.taps[name] for part in parts]) for name in parts[0].taps}
        return cls(np.concatenate([part.output for part in parts]), taps)


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
    keep: Callable[[int, Callable[[], dict[str, Gaps]]], dict[str, Gaps]],
) -> dict[str, Gaps]:
    """Student -> mean squared differences to the teacher's prediction and features, for n items at k noise levels.

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
        keep: is given a batch's number and what makes it, and gives the batch, made or remembered.

    Raises:
        UserError: a prediction is not finite.
    """
    times, _ = levels(teacher)
    shared = {name: shared_taps(student) for name, student in students.items()}
    names = sorted({pair.teacher for pairs in shared.values() for pair in pairs})
    parts: dict[int, dict[str, Gaps]] = {}

    def make(rows: slice) -> dict[str, Gaps]:
        numbers = draws.numbers(rows.start, rows.stop - rows.start)
        own = {path: value[rows] for path, value in bound.items()}
        conditions = {name: m.encode(items.keys[rows], own) for name, m in {"": teacher, **students}.items()}
        found = {name: Gaps.empty(len(numbers), len(times), shared[name]) for name in students}
        for k, time in enumerate(times):
            eps = draws.normal(seed, f"evaluate/noise/{items.group}/{k}", numbers, x0.shape[1:])
            t = time.expand(len(numbers))
            x_t = teacher.noise_path.add_noise(x0[rows], eps, t).to(teacher.device)
            # keys of different length that cannot be given together are given one length after the other
            for group in conditions[""].groups():
                some = torch.arange(len(numbers))[group].numpy()
                with taps(teacher.network, names) as t_k:
                    wanted = teacher.predict(x_t[some], t[some].to(teacher.device), conditions[""].rows(group))
                for name, student in students.items():
                    given = x_t[some].to(student.device), t[some].to(student.device), conditions[name].rows(group)
                    with taps(student.network, [pair.student for pair in shared[name]]) as s_k:
                        got = student.predict(*given)
                    found[name].output[some, k] = mse_per_sample(got.to(wanted.device), wanted).cpu()
                    for pair in shared[name]:
                        features = s_k[pair.student].to(wanted.device), t_k[pair.teacher]
                        found[name].taps[pair.teacher][some, k] = feature_mse(*features, num_samples=len(some)).cpu()
        for name, gaps in found.items():
            if not np.isfinite(gaps.output).all():
                raise UserError(f"model {name!r} predicts values that are not finite; leave it out or train it again")
        return found

    for number in processes.share(-(-len(items) // batch)):
        rows = slice(number * batch, min((number + 1) * batch, len(items)))
        parts[number] = keep(number, partial(make, rows))
        advance(rows.stop - rows.start)
    each = processes.gathered(parts)
    return {name: Gaps.joined([found[name] for found in each]) for name in students}


def shared_taps(student: Teacher) -> tuple[TapPair, ...]:
    """The student's taps whose features can be compared as they are: of the teacher's width. None without a plan."""
    planned = student.plan.taps if student.plan is not None else ()
    return tuple(pair for pair in planned if pair.teacher_channels == pair.student_channels)
