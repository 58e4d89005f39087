"""Steps: the conditional call of every step of a recording."""

from __future__ import annotations

from typing import Any

import torch

from condistill.errors import UserError
from condistill.maths.noise_path import NoisePath
from condistill.teacher.keys import parameters_of
from condistill.teacher.leaves import Leaves
from condistill.teacher.noisy import stacked
from condistill.teacher.recording import Recording
from condistill.teacher.running import Runner

# u of a time at which a sample may be left: some loops leave out a last step at time 0 or 1 of 1,000
NO_NOISE = 0.01


def calls_at(whole: Recording, skip: int, lists: frozenset[str], x_path: str) -> tuple[list[Leaves], list[float]]:
    """The conditional call of every step and its time, where there is one and x_t has the shape of the first one's.

    Some loops step twice for one call (for its two answers, and for what they make), some go on at another size.
    """
    calls, times = [], []
    for step, time in enumerate(whole.times):
        k = _call_of_step(whole, step, skip)
        leaves = None if k is None else whole.leaves(k, lists)
        if leaves is not None and (not calls or _shape(leaves.get(x_path)) == _shape(calls[0][x_path])):
            calls.append(leaves)
            times.append(time)
    return calls, times


def check_one_network(recording: Recording, runner: Runner) -> None:
    """Nothing, if the denoiser is the same in every step.

    Raises:
        UserError: its pipeline switches something in it.
    """
    if recording.switched is not None:
        shares = [f"{name} ({value:g})" for name, value in _shares(runner).items()]
        which = f" (a share of the steps, perhaps: {', '.join(shares)})" if shares else ""
        raise UserError(
            f"{type(runner.pipeline).__name__} sets {recording.switched!r} of its {runner.component} another way at "
            f"some steps, so the network is no one function of x_t, t and condition; pass with call= what leaves it as "
            f"it is{which}"
        )


def check_end(recording: Recording, runner: Runner, path: NoisePath) -> None:
    """Nothing, if the loop went on to where its scheduler has no noise left.

    Raises:
        UserError: it left out its last steps, as a pipeline does that hands over to a second one.
    """
    sampler = recording.stepped[-1] if recording.stepped else None
    times = [float(time) for time in getattr(sampler, "timesteps", ())]
    if not recording.times or recording.times[-1] not in times:
        return
    left = times[len(times) - times[::-1].index(recording.times[-1]) :]
    if left and float(path.u(torch.tensor(left[:1]))) > NO_NOISE:
        given = [f"{name}={v:g}" for name, v in runner.call.items() if isinstance(v, float) and 0.0 < v < 1.0]
        raise UserError(
            f"{type(runner.pipeline).__name__} ended at time {recording.times[-1]:g}, {len(left)} before the last of "
            f"its {len(times)}, so what it sampled has noise left and is no x_0; pass with call= what lets it go on"
            + (f" (not {', '.join(given)})" if given else "")
        )


def _shares(runner: Runner) -> dict[str, float]:
    """Call arguments that are between 0 and 1 by themselves."""
    usual = {name: one.default for name, one in parameters_of(runner.pipeline).items()}
    return {name: value for name, value in usual.items() if isinstance(value, float) and 0.0 < value < 1.0}


def check_one_way(recording: Recording, runner: Runner) -> None:
    """Nothing, if the loop went from noise to data in one way.

    Raises:
        UserError: it went back to some time at another size, as loops in stages do.
    """
    if recording.back is not None:
        raise UserError(
            f"{type(runner.pipeline).__name__} samples in stages: after time {max(recording.times):g} it goes back to "
            f"{recording.back:g}, so what it samples is no x_0 of one noise process; this pipeline is not supported"
        )


def _shape(value: Any) -> Any:
    rows = stacked(value)
    return None if rows is None else tuple(rows.shape)


def _call_of_step(whole: Recording, step: int, skip: int) -> int | None:
    calls = [k for k, call in enumerate(whole.calls) if call.step == step]
    return calls[skip] if len(calls) > skip else None
