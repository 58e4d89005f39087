"""`p_random="auto"`: p(u) measured on the teacher at the start of a run.

At noise level u a student is to learn two things from its n samples: what a condition changes at every x_t alike, which
swapped samples teach about any condition, and all that depends on x_t, which only samples with their own condition show
as sampling will meet it. If each is learned with an error of its variance over the number of its samples,

    error(p) = var_rest / (n (1 - p)) + var_shared / (n p),   least at   p = sd_shared / (sd_shared + sd_rest)

(Neyman's allocation of a sample to two strata). Both variances are of the teacher's x0 prediction: var_shared the main
effect of the condition, var_rest what is left over x_t at a given condition. docs/method.md says what this leaves out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from condistill.errors import UserError
from condistill.maths.p_random import Auto, PRandom, p_random
from condistill.probes.kinds.condition_sensitivity import Level, different_items, sensitivity
from condistill.train.log import Log

NUM_VALUES = 21


def measured(p: PRandom, teacher: Any, cache: Any, *, before: Path) -> PRandom:
    """`p` itself, or, for an `Auto` without values, the same with what was measured on D.

    Args:
        p: from `condistill.p_random`.
        teacher: a Teacher, recorded with D's call.
        cache: D.
        before: the log of the run; a run that goes on keeps the values that it was started with.

    Raises:
        UserError: D has one key only, or the teacher's prediction does not imply an x0.
    """
    if not isinstance(p, Auto) or p.values:
        return p
    for row in Log(before).rows():
        found = row.get("p_random")
        asked = {
            "name": Auto.name,
            "power": p.power,
            "values": found.get("values") if isinstance(found, dict) else None,
        }
        if found == asked and (row.get("teacher"), row.get("cache")) == (teacher.hash, cache.manifest.id):
            return p_random(asked)
    teacher.network.eval()
    levels = sensitivity(teacher, different_items(cache), spaces=["x0"])
    return dataclasses.replace(p, values=p_of(levels, power=p.power))


def p_of(levels: Sequence[Level], *, power: float = 1.0) -> tuple[float, ...]:
    """p at NUM_VALUES places spread evenly over u = 0 ... 1: sd_shared^power / (sd_shared^power + sd_rest^power).

    Raises:
        UserError: no two levels gave a finite number.
    """
    # an estimate of a variance may fall below 0 where the variance is next to nothing
    shared = np.array([max(level.shared["x0"], 0.0) for level in levels]) ** (power / 2)
    rest = np.array([max(level.over_noisy["x0"], 0.0) for level in levels]) ** (power / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = shared / (shared + rest)
    u, is_good = np.array([level.u for level in levels]), np.isfinite(p)
    if is_good.sum() < 2:
        raise UserError("p_random 'auto' could not be measured: the teacher's predictions are not finite; name a p(t)")
    table = np.interp(np.linspace(0, 1, NUM_VALUES), u[is_good], p[is_good])
    # six digits: the last bits differ from device to device, and a run that goes on compares its settings
    return tuple(round(float(value), 6) for value in table)
