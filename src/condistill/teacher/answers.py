"""Answers: what a pipeline makes of its denoiser's answer before its scheduler is given it."""

from __future__ import annotations

from dataclasses import replace

from condistill.teacher.calibration import Calibration
from condistill.teacher.running import unheard


@unheard()
def answer_sign(found: Calibration) -> float | None:
    """1.0 where the scheduler is given the denoiser's answer, -1.0 where it is given its negative (as Z-Image's is).

    Observed: what the first step gets if every answer is ones. None where that is anything else (Cosmos mixes x_t in).
    """
    if found.observed is not None:
        return found.observed.sign
    runner = replace(found.runner, skip=0, blank=None)
    given = runner.run(found.keys[: 1 if runner.single else 2], mode="ones", max_steps=1).answer
    if given is None:
        return None
    return next((sign for sign in (1.0, -1.0) if bool(((given.float() - sign).abs() < 1e-3).all())), None)
