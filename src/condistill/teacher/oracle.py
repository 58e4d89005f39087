"""The oracle: what noise process a network sees in its own time, where the scheduler's config does not say it.

A pipeline may scale the sampler's x_t and map its time before the network is given them (Cosmos 2, Sana Sprint). What
the network sees may still be flow matching in its own time s: x_t = (1 - s) x0 + s eps, with the answer eps - x0. This
is believed only if the pipeline itself believes it. An oracle that knows x0 stands in for the network and answers
(x_t - x0) / s; then every step has to be on that path, and the last one has to be x0, whatever the number of steps.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.maths.draws import generator
from condistill.maths.noise_path import FlowPath, noise_path
from condistill.maths.randomise import Key
from condistill.teacher.blanks import filled_with
from condistill.teacher.keys import parameters_of
from condistill.teacher.leaves import Leaves, flatten
from condistill.teacher.noisy import Noisy, stacked
from condistill.teacher.recording import Recording
from condistill.teacher.rounding import TOLERANCE
from condistill.teacher.running import STEPS, Runner, experts
from condistill.teacher.shadowing import bound_arguments, shadowed
from condistill.teacher.timing import TimeMap, time_maps
from condistill.teacher.view import View

COUNTS = (None, 3, 7)  # numbers of steps that are tried beside the recorded one; a pipeline may refuse some
NEAR = 0.02  # of x0: a sampler ends at its smallest noise, not at none


@dataclass(frozen=True)
class Observed:
    """Flow matching in the network's own time.

    Attributes:
        path: the noise path; its time is the network's.
        time: the argument that takes it.
        place: which number of an item's time it is, where parts of an item have times of their own.
        sign: of the answer: 1 where it is the velocity of the path, -1 where it is the opposite.
        scale: x0 of the network over x0 of the sampler.
    """

    path: FlowPath
    time: str
    place: int
    sign: float
    scale: float = 1.0

    def level(self, leaves: Leaves) -> float:
        """The network's time in a recorded call."""
        return float(torch.as_tensor(leaves[self.time]).flatten()[self.place])


@dataclass(frozen=True)
class Steps:
    """The conditional call of every recorded step.

    Attributes:
        calls: its leaves.
        times: the scheduler's time of each.
        known: paths that hold x_t or come from another network.
    """

    calls: Sequence[Leaves]
    times: Sequence[float]
    known: Collection[str]


def process_of(
    runner: Runner, keys: Sequence[Key], view: View, noisy: Mapping[str, Noisy], steps: Steps, whole: Recording
) -> tuple[Observed | None, dict[str, TimeMap]]:
    """What the oracle has confirmed, None where the noise process is the scheduler's; and the arguments that follow
    the time of that process.

    Args:
        runner, keys, view, noisy: see `observed`.
        whole: the recording that the steps are of.

    Raises:
        UserError: neither was established; the message is about the scheduler's.
    """
    name, n, scheduler = type(runner.network).__name__, 1 if runner.single else len(keys), whole.stepped[0]
    if len(set(steps.times)) < 2 and len({call.step for call in whole.calls}) > 1:
        raise UserError(
            f"{name} was called at one time only in the way that depends on the key, and otherwise in the other steps "
            "(with what it has kept of a picture, say); leave out pictures, or take one that calls it alike in all"
        )
    try:
        noise_path(scheduler)
        return None, time_maps(steps.calls, steps.times, steps.known, n, name, scheduler=scheduler)
    except UserError as error:
        found = observed(runner, keys, view, noisy, steps.calls)
        if found is None:
            raise error
    return found, time_maps(steps.calls, [found.level(call) for call in steps.calls], steps.known, n, name)


def observed(
    runner: Runner, keys: Sequence[Key], view: View, noisy: Mapping[str, Noisy], calls: Sequence[Leaves]
) -> Observed | None:
    """The process that the oracle has confirmed; None if it has confirmed none.

    Args:
        runner: that records the pipeline, with the shape of the denoiser's answer.
        keys: n that it was recorded with.
        view: the layout of the sampler's sample.
        noisy: the arguments that hold x_t, the denoiser's first.
        calls: leaves of one call per step.
    """
    if len(experts(runner)) > 1 or next(iter(noisy.values())).part is not None:
        return None
    return next((found for one in _guesses(calls, noisy) if (found := confirmed(one, runner, keys, view, noisy))), None)


def _guesses(calls: Sequence[Leaves], noisy: Mapping[str, Noisy]) -> Iterator[Observed]:
    """What could be: every argument that changes with the step as the time, to data or from it, either sign."""
    for name, value in calls[0].items():
        values = [torch.as_tensor(call[name]).double().flatten() for call in calls if _is_number(call.get(name))]
        is_one = len({v.shape for v in values}) == 1 and values[0].numel() > 0
        if name in noisy or ":" in name or not _is_number(value) or not is_one:
            continue
        rows = torch.stack(values)
        place = int((rows.amax(dim=0) - rows.amin(dim=0)).argmax())
        changing = rows[:, place]
        if not bool(changing.isfinite().all()) or bool(changing.min() < 0) or len(set(changing.tolist())) < 2:
            continue
        num_steps = 1 if bool(changing.max() <= 1.0 + TOLERANCE) else 1000
        inverted = bool(changing[0] < changing[-1])
        for sign in (1.0, -1.0):
            yield Observed(FlowPath(num_steps=num_steps, inverted=inverted), name, place, sign)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, Tensor) and value.is_floating_point())


def confirmed(
    guess: Observed,
    runner: Runner,
    keys: Sequence[Key],
    view: View,
    noisy: Mapping[str, Noisy],
    counts: Sequence[int | None] = COUNTS,
) -> Observed | None:
    """The guess with its scale, if the pipeline is led to x0 by the oracle at every number of steps that it takes."""
    n, scales = 1 if runner.single else len(keys), []
    one = next(iter(noisy.values()))
    x0 = torch.randn(n, *one.shape, generator=generator(0, "oracle", 0))
    for count in counts:
        told = [_told(guess, runner, keys, noisy, known, count) for known in (x0, torch.zeros_like(x0))]
        if any(run is None for run in told):
            continue
        scale = _scale([run for run in told if run is not None], x0, one, view)
        if scale is None:
            return None
        scales.append(scale)
    if not scales or max(scales) - min(scales) > NEAR * abs(scales[0]):
        return None
    return replace(guess, scale=float(f"{1.0 / scales[0]:.3g}"))


@dataclass(frozen=True)
class _Run:
    """What the oracle saw: s and x_t (n, *latent) of each step, and the sample after the last."""

    levels: list[float]
    seen: list[Tensor]
    last: Tensor


def _told(
    guess: Observed, runner: Runner, keys: Sequence[Key], noisy: Mapping[str, Noisy], x0: Tensor, count: int | None
) -> _Run | None:
    """A run of the pipeline with the oracle for its denoiser; None if the pipeline does not take so many steps."""
    network, (x_path, one) = runner.network, next(iter(noisy.items()))
    levels: list[float] = []
    seen: list[Tensor] = []

    @functools.wraps(network.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        leaves = flatten(bound_arguments(network, args, kwargs))
        rows = stacked(leaves[x_path])
        assert rows is not None
        x_t = one.taken(rows).float()
        if x_t.shape[1:] != x0.shape[1:]:
            raise ValueError("the loop goes on at another size, and nothing is known of x0 there")
        s = float(guess.path.sigma(torch.tensor([guess.level(leaves)])))
        if not levels or s != levels[-1]:
            levels.append(s)
            seen.append(x_t[: len(x0)].cpu())
        known = x0.to(x_t.device).repeat(-(-len(x_t) // len(x0)), *[1] * (x0.ndim - 1))[: len(x_t)]
        direction = -guess.sign if guess.path.inverted else guess.sign
        answer = direction * (x_t - known) / max(s, 1e-6)
        return _with_first(runner.blank, answer.to(rows.dtype))

    names = parameters_of(runner.pipeline)
    more: dict[str, Any] = {STEPS: count} if count and STEPS in names else {}
    if "output_type" in names:
        more["output_type"] = "latent"
    if "strength" in names:
        more["strength"] = 1.0  # from a picture that is given the loop does not start on the way to x0
    with shadowed(network, "forward", forward):
        try:
            recording = runner.with_call(**more).run(keys, mode="real")
        except UserError:
            raise
        except Exception:  # a pipeline that takes other numbers of steps, or does not run on such answers
            return None
    return None if recording.last is None or len(set(levels)) < 2 else _Run(levels, seen, recording.last)


def _scale(told: Sequence[_Run], x0: Tensor, one: Noisy, view: View) -> float | None:
    """The last sample over x0, if two runs that were led to x0 and to 0 were on the path all the way."""
    (run, empty), n = told, len(x0)
    free = torch.ones(x0.shape[1:], dtype=torch.bool) if one.held is None else ~one.held.cpu()
    if run.levels != empty.levels or not view.takes(run.last, n):
        return None
    levels, a = run.levels, x0[:, free]
    seen = [[x[:, free] for x in xs] for xs in (run.seen, empty.seen)]
    if not _are_on_path(levels, seen, a):
        return None
    lasts = [view(one_run.last.cpu().float(), n)[:, free] for one_run in told]
    scale = float(((lasts[0] - lasts[1]) * a).sum() / a.square().sum())
    away = max(float((lasts[0] - scale * a).abs().max()), float(lasts[1].abs().max()))
    return scale if abs(scale) > 1e-3 and away <= NEAR * abs(scale) * float(a.abs().max()) else None


def _are_on_path(levels: Sequence[float], seen: Sequence[Sequence[Tensor]], a: Tensor) -> bool:
    """Whether x_t = (1 - s) x0 + s eps at every level: with x0 = `a` and with 0, one eps or a new one each step."""
    if any(later > before for before, later in itertools.pairwise(levels)) or not 0 < levels[0] <= 1.001:
        return False
    told, empty = seen
    spread = 5.0 / math.sqrt(2 * a.numel()) + 2 * TOLERANCE  # five standard errors of a standard deviation
    if any(abs(float(x.square().mean().sqrt()) / s - 1.0) > spread for s, x in zip(levels, empty, strict=True) if s):
        return False
    eps = (told[0] - (1.0 - levels[0]) * a) / levels[0]
    largest = float(max(a.abs().max(), eps.abs().max()))
    same = [float((x - (1.0 - s) * a - s * eps).abs().max()) for s, x in zip(levels, told, strict=True)]
    new = [float((x - y - (1.0 - s) * a).abs().max()) for s, x, y in list(zip(levels, told, empty, strict=True))[1:]]
    return max(same) <= 2 * TOLERANCE * largest or max(new) <= 2 * TOLERANCE * largest


def _with_first(blank: Any, answer: Tensor) -> Any:
    """A denoiser's answer like `blank`, with its first tensor exchanged."""
    if isinstance(blank, Tensor):
        return answer
    if isinstance(blank, tuple):
        return (answer, *filled_with(blank[1:], 0.0))
    if isinstance(blank, list):
        return list(answer)
    parts = {**dict(filled_with(blank, 0.0)), next(iter(blank)): answer}
    return parts if type(blank) is dict else type(blank)(**parts)
