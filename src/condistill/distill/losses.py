"""What student and teacher are compared by: output, features, and (optionally) the denoising task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from condistill.errors import UserError, unknown_name
from condistill.maths.distances import mse_per_sample
from condistill.maths.noise_path import NoisePath
from condistill.teacher.condition import in_order

TAP_SUMS = ("sum", "relative")


@dataclass(frozen=True)
class LossWeights:
    """Weights of L = output L_out + feature L_feat + task L_task.

    Attributes:
        output, feature, task: of the three terms.
        guidance: scale of the teacher's guidance in the target of L_out, T_null + guidance (T - T_null); the student
            then draws with guidance in one pass. 1 is the plain conditional pass.
        taps: "sum" adds the taps' mean squared differences as they are; "relative" divides each by the mean square of
            the teacher's feature; a mapping gives taps (by the teacher's module) weights of their own, others have 1.

    Source: arXiv 2504.02011: output and feature with weight 1, no task loss, no guidance, the plain sum; BK-SDM adds
    the task loss. Guidance in the target is Meng et al. 2023's, at one fixed scale.
    """

    output: float = 1.0
    feature: float = 1.0
    task: float = 0.0
    guidance: float = 1.0
    taps: str | Mapping[str, float] = "sum"

    def __post_init__(self) -> None:
        values = (self.output, self.feature, self.task)
        by_tap = list(self.taps.values()) if isinstance(self.taps, Mapping) else []
        if any(not 0.0 <= value < float("inf") for value in (*values, *by_tap, self.guidance)) or not any(values):
            raise UserError(f"loss weights must be finite, not negative and not all zero, got {self}")
        if isinstance(self.taps, str) and self.taps not in TAP_SUMS:
            raise unknown_name("way to sum taps", self.taps, TAP_SUMS)
        if self.taps != "sum" and not self.feature:
            raise UserError(f"got loss.taps={self.taps!r} without a feature loss, so it has no effect; leave it out")

    def of_tap(self, name: str) -> float:
        """The weight of one tap within the feature loss."""
        return self.taps.get(name, 1.0) if isinstance(self.taps, Mapping) else 1.0

    def check_taps(self, known: Sequence[str]) -> None:
        """Nothing, if every tap that has a weight of its own is among `known`.

        Raises:
            UserError: one is not.
        """
        for name in self.taps if isinstance(self.taps, Mapping) else ():
            if name not in known:
                raise unknown_name("tap", name, known)


@dataclass(frozen=True)
class Terms:
    """The loss of b samples, term by term, per sample and without gradient but for `loss`.

    Attributes:
        loss: the scalar to descend.
        output: (b,) MSE between the predictions.
        taps: name of the teacher's module -> (b,) MSE between the features.
        task: (b,) MSE to the true target; 0 where the condition was swapped. Empty without a task loss.
    """

    loss: Tensor
    output: Float[Tensor, " b"]
    taps: Mapping[str, Float[Tensor, " b"]] = field(default_factory=dict)
    task: Float[Tensor, " b"] | None = None

    def without_graph(self) -> Terms:
        """The same without what the backward pass needs."""
        return replace(self, loss=self.loss.detach())


@dataclass(frozen=True)
class Differences:
    """Per sample and with gradient, what a loss is made of.

    Attributes:
        output: (b,) MSE between the predictions.
        taps: name of the teacher's module -> (b,) MSE between the features.
        task: (b,) MSE to the true target; None without a task loss.
        energies: name of the teacher's module -> (b,) mean square of its feature, where it is wanted.
    """

    output: Float[Tensor, " b"]
    taps: Mapping[str, Float[Tensor, " b"]] = field(default_factory=dict)
    task: Float[Tensor, " b"] | None = None
    energies: Mapping[str, Float[Tensor, " b"]] = field(default_factory=dict)


def differences(
    student_out: Tensor,
    teacher_out: Tensor,
    features: Mapping[str, tuple[Tensor, Tensor]],
    *,
    target: Tensor | None = None,
    with_energies: bool = False,
) -> Differences:
    """Mean squared differences of each sample, in float32.

    Args:
        student_out: (b, *out).
        teacher_out: (b, *out).
        features: tap -> (student's, teacher's) features of equal shape.
        target: (b, *latent) of the task loss.
        with_energies: whether the mean squares of the teacher's features are wanted.

    Raises:
        ValueError: two features of different shapes.
    """
    for name, (student, teacher) in features.items():
        if student.shape != teacher.shape:
            raise ValueError(f"tap {name!r}: student {tuple(student.shape)} against teacher {tuple(teacher.shape)}")
    output = mse_per_sample(student_out, teacher_out)
    by_tap = {name: feature_mse(*pair, num_samples=len(output)) for name, pair in features.items()}
    # a learned-variance network returns more channels than the target has; the first ones are its prediction
    task = None if target is None else mse_per_sample(student_out[:, : target.shape[1]], target)
    theirs = {name: teacher for name, (_, teacher) in features.items()} if with_energies else {}
    energies = {name: feature_mse(torch.zeros_like(f), f, num_samples=len(output)) for name, f in theirs.items()}
    return Differences(output, by_tap, task, energies)


def joined(parts: Sequence[Differences], groups: Sequence[Tensor | slice]) -> Differences:
    """The differences of all b samples, from those of groups of them.

    Args:
        parts: one a group.
        groups: the numbers of its samples in the batch; a slice where one group has them all.
    """
    by_tap = {name: in_order([part.taps[name] for part in parts], groups) for name in parts[0].taps}
    energies = {name: in_order([part.energies[name] for part in parts], groups) for name in parts[0].energies}
    task = [part.task for part in parts if part.task is not None]
    output = in_order([part.output for part in parts], groups)
    return Differences(output, by_tap, in_order(task, groups) if task else None, energies)


def combine(found: Differences, *, weights: LossWeights, mask: Tensor | None = None) -> Terms:
    """L = w_out mean_b MSE(student, teacher) + w_feat sum_taps mean_b MSE(feature_s, feature_t) + w_task L_task.

    Args:
        found: the differences of b samples.
        weights: of the terms.
        mask: (b,) of the samples that have a task loss.
    """
    loss = weights.output * found.output.mean()
    for name, value in found.taps.items():
        term = value.mean() / found.energies[name].mean() if name in found.energies else value.mean()
        loss = loss + weights.feature * weights.of_tap(name) * term
    by_task = None
    if found.task is not None and mask is not None:
        error = found.task * mask
        loss = loss + weights.task * error.sum() / mask.sum().clamp(min=1)
        by_task = error.detach()
    detached = {name: value.detach() for name, value in found.taps.items()}
    return Terms(loss=loss, output=found.output.detach(), taps=detached, task=by_task)


def feature_mse(student: Tensor, teacher: Tensor, *, num_samples: int) -> Float[Tensor, " b"]:
    """Mean squared difference of each sample's features, (b,) float32.

    Most blocks give (b, ...); some networks put tokens before samples, and video networks fold frames or places into
    the first axis, an item's rows one after the other. Where samples cannot be told apart, all get the mean.
    """
    if len(student) != num_samples:
        axis = next((k for k, size in enumerate(student.shape) if size == num_samples), None)
        if axis is not None:
            student, teacher = student.movedim(axis, 0), teacher.movedim(axis, 0)
        elif len(student) % num_samples == 0:
            student, teacher = (one.unflatten(0, (num_samples, -1)) for one in (student, teacher))
        else:
            return (student.float() - teacher.float()).square().mean().expand(num_samples)
    return mse_per_sample(student, teacher)


def guided(
    conditional: Float[Tensor, "b *out"], null: Float[Tensor, "b *out"], *, scale: float, num_channels: int
) -> Float[Tensor, "b *out"]:
    """null + scale (conditional - null) in float32; of a learned-variance output the variance stays the conditional's.

    Args:
        conditional, null: the teacher's predictions with the condition and with the null condition.
        scale: of guidance.
        num_channels: length of the second axis of x_t; what a prediction has beyond it is the variance.

    Source: Ho and Salimans 2022, in the form that diffusers' pipelines use.
    """
    conditional, null = conditional.float(), null.float()
    mean = null[:, :num_channels] + scale * (conditional[:, :num_channels] - null[:, :num_channels])
    return torch.cat([mean, conditional[:, num_channels:]], dim=1)


def task_target(
    x0: Float[Tensor, "b *latent"],
    eps: Float[Tensor, "b *latent"],
    t: Shaped[Tensor, " b"],
    *,
    path: NoisePath,
    prediction_type: str,
) -> Float[Tensor, "b *latent"]:
    """What the scheduler takes for the answer: eps, v = alpha eps - sigma x0, x0, or the velocity eps - x0.

    A flow that counts from noise to data has the velocity x0 - eps.

    Raises:
        UserError: another prediction type.
    """
    about = path.describe()
    if about["kind"] == "flow":
        return x0 - eps if about.get("inverted") else eps - x0
    if prediction_type == "epsilon":
        return eps
    if prediction_type == "sample":
        return x0
    if prediction_type == "v_prediction":
        column = (-1, *[1] * (x0.ndim - 1))
        return path.alpha(t).view(column) * eps - path.sigma(t).view(column) * x0
    raise UserError(
        f"the task loss knows epsilon, v_prediction, sample and flow, got {prediction_type!r}; set task to 0"
    )


def check_task(weights: LossWeights, teacher: Any) -> None:
    """Nothing, if there is no task loss or its target follows from the teacher's scheduler.

    Raises:
        UserError: it does not.
    """
    if not weights.task:
        return
    path, kind = teacher.noise_path, prediction_type(teacher.scheduler)
    # of a process whose network sees a scaled x_t (EDM) only v is known
    is_unknown = getattr(path, "is_scaled", False) and kind != "v_prediction"
    if is_unknown or teacher.answer_sign is None:
        raise UserError(
            f"got loss.task={weights.task:g}, but what this teacher's network was trained to predict does not follow "
            f"from its scheduler ({type(teacher.scheduler).__name__}); set task to 0"
        )


def prediction_type(scheduler: Any) -> str:
    """The prediction type in a diffusers scheduler's config; epsilon where it says nothing."""
    return str(scheduler.config.get("prediction_type", "epsilon"))


def is_finite(terms: Terms) -> Tensor:
    """A scalar bool tensor: the loss is finite. Kept on the device."""
    return torch.isfinite(terms.loss)
