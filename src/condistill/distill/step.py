"""The method of arXiv 2504.02011 (CVPR 2025), in its symbols. Read this file first.

    (x0, c) ~ D                          a cached sample of the teacher and its condition
    t       ~ uniform, per sample        u = t / T
    eps     ~ N(0, I)                    x_t = alpha_t x0 + sigma_t eps
    c~      ~ C with probability p(u)    random conditioning: c is swapped for any text of the corpus
    c~      = null with probability .1   so that guidance still works
    L       = |S(x_t, t, c~) - T(x_t, t, c~)|^2  +  sum_k |s_k - t_k|^2

The teacher answers for the swapped condition as well, so the student learns what T draws for texts it has no image of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from condistill.cache.batch import Batch
from condistill.distill.attention import exact_attention
from condistill.distill.losses import (
    Differences,
    LossWeights,
    Terms,
    combine,
    differences,
    guided,
    joined,
    prediction_type,
    task_target,
)
from condistill.distill.swap import Swap, Uniform
from condistill.maths.draws import normal, uniforms
from condistill.maths.noise_path import NoisePath
from condistill.maths.p_random import PRandom
from condistill.maths.randomise import Key, Randomised, randomise
from condistill.teacher.calling import precision_of, scored
from condistill.teacher.condition import Condition
from condistill.teacher.taps import taps


@dataclass(frozen=True)
class Method:
    """What stays the same over a run: p(u), C and how to draw from it, the loss, the null condition and the seed."""

    p_random: PRandom
    corpus: Any
    weights: LossWeights = field(default_factory=LossWeights)
    p_null: float = 0.1  # paper, training recipe
    null_key: Key | None = ""
    seed: int = 0
    swap: Swap = field(default_factory=Uniform)


@dataclass(frozen=True)
class Drawn:
    """All that is random about b samples: a pure function of (seed, sample numbers), and of what a `Swap` has learned.

    Attributes:
        t: (b,) times of the scheduler.
        u: (b,) float in [0, 1]; 1 is pure noise.
        p: (b,) the probability p(u) with which each was swapped.
        eps: (b, *latent) float32.
        keys: the conditions to use, swapped and dropped, and which were.
    """

    t: Shaped[Tensor, " b"]
    u: Float[Tensor, " b"]
    p: Float[Tensor, " b"]
    eps: Float[Tensor, "b *latent"]
    keys: Randomised

    def without_noise(self) -> Drawn:
        """The same with no noise in it, which is as large as x0: what is kept of every micro-batch of a step."""
        return replace(self, eps=self.eps.new_empty(len(self.t), 0))


def draw(batch: Batch, sample_numbers: np.ndarray, method: Method, path: NoisePath) -> Drawn:
    """Times, noise and conditions for a batch: swap first, with p(u), then drop with p_null."""
    seed = method.seed
    t = path.times(torch.from_numpy(uniforms(seed, "t", sample_numbers)))
    u = path.u(t)
    p = method.p_random(u)
    swap = uniforms(seed, "swap", sample_numbers) < p.double().numpy()
    others: Sequence[Key] = list(batch.keys)
    if swap.any():
        own = [key for s, key in zip(swap, batch.keys, strict=True) if s]
        numbered = partial(uniforms, seed, sample_numbers=sample_numbers[swap])
        drawn = iter(method.swap.draw(method.corpus, numbered, own, u[torch.from_numpy(swap)]))
        others = [next(drawn) if s else key for s, key in zip(swap, batch.keys, strict=True)]
    drop = uniforms(seed, "drop", sample_numbers) < method.p_null
    keys = randomise(batch.keys, swap=swap, others=others, drop=drop, null=method.null_key)  # type: ignore[arg-type]
    return Drawn(t=t, u=u, p=p, eps=normal(seed, "noise", sample_numbers, batch.x0.shape[1:]), keys=keys)


def distillation_step(
    teacher: Any, pupils: Sequence[nn.Module], batch: Batch, drawn: Drawn, *, method: Method, network: nn.Module
) -> list[Terms]:
    """The loss of each pupil on one batch; one teacher pass serves them all.

    Args:
        teacher: the Teacher; it encodes and shapes the call.
        pupils: `Pupil` modules, as they are or wrapped.
        batch: x0 (b, *latent) and what is bound to it.
        drawn: from `draw`.
        method: weights and p(u).
        network: the teacher's denoiser to ask, possibly in another precision than `teacher.network`.
    """
    device = next(network.parameters()).device
    x0, eps, t = batch.x0.to(device), drawn.eps.to(device), drawn.t.to(device)
    condition = teacher.encode(drawn.keys.keys, batch.bound)
    # a student whose pipeline gives it other arguments encodes for itself
    askers = [bare(pupil).asker or teacher for pupil in pupils]
    own = [condition if one is teacher else one.encode(drawn.keys.keys, batch.bound) for one in askers]
    x_t = teacher.noise_path.add_noise(x0, eps, t)

    target = mask = None
    if method.weights.task:
        kind = prediction_type(teacher.scheduler)
        target = scored(teacher.calibration, task_target(x0, eps, t, path=teacher.noise_path, prediction_type=kind))
        target = target * teacher.answer_sign
        mask = torch.from_numpy(~drawn.keys.swapped).to(device)

    null = None
    if method.weights.guidance != 1.0:
        null = teacher.encode([method.null_key] * len(x0), batch.bound)

    groups = condition.groups()  # one, unless keys of different length cannot be given together
    found = []
    for rows in groups:
        given = x_t[rows], t[rows], [one.rows(rows) for one in (condition, *own)]
        found.append(
            _compared(
                teacher, pupils, *given, target=None if target is None else target[rows],
                null=None if null is None else null.rows(rows), weights=method.weights, askers=askers, network=network,
            )
        )  # fmt: skip
    whole = [joined(parts, groups) for parts in zip(*found, strict=True)]
    return [combine(one, weights=method.weights, mask=mask) for one in whole]


def _compared(
    teacher: Any,
    pupils: Sequence[nn.Module],
    x_t: Tensor,
    t: Tensor,
    conditions: Sequence[Condition],
    *,
    target: Tensor | None,
    null: Condition | None,
    weights: LossWeights,
    askers: Sequence[Any],
    network: nn.Module,
) -> list[Differences]:
    """How far each pupil is from the teacher on the same input; one teacher pass serves them all.

    Args:
        conditions: the teacher's, and each pupil's.
        null: the null condition, where the teacher's answer is to be guided.
        askers: whose pipeline says what each pupil is given: its own, or the teacher's.
    """
    pairs = [bare(pupil).pairs if weights.feature else () for pupil in pupils]
    names = list(dict.fromkeys(pair.teacher for some in pairs for pair in some))
    with torch.no_grad(), taps(network, names) as t_k:
        teacher_out = _answer(teacher, network, x_t, t, conditions[0])
    if null is not None:
        with torch.no_grad():
            null_out = _answer(teacher, network, x_t, t, null)
        teacher_out = guided(teacher_out, null_out, scale=weights.guidance, num_channels=x_t.shape[1])

    found = []
    for pupil, some, asker, own in zip(pupils, pairs, askers, conditions[1:], strict=True):
        asked = asker.arguments(x_t, t, own, dtype=next(pupil.parameters()).dtype)
        with exact_attention(bare(pupil).network, x_t):
            student_out, s_k = pupil(asked)
        features: dict[str, tuple[Tensor, Tensor]] = {
            pair.teacher: (s, t_k[pair.teacher]) for pair, s in zip(some, s_k, strict=False)
        }
        found.append(
            differences(
                teacher.prediction(student_out), teacher_out, features, target=target,
                with_energies=weights.taps == "relative",
            )
        )  # fmt: skip
    return found


def _answer(teacher: Any, network: nn.Module, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
    asked = teacher.arguments(x_t, t, condition, dtype=precision_of(network))
    return teacher.prediction(network(**asked))


def bare(pupil: nn.Module) -> Any:
    """The Pupil inside whatever wraps it."""
    return getattr(pupil, "module", pupil)
