"""Parts: a loop that steps x_t part by part (every frame by a scheduler of its own), put together as one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Beside:
    """A second sampler that steps in the same loop, on something else that the denoiser is given (a video's sound).

    Attributes:
        scheduler: it, often a copy of the first one.
        sample: its sample before its first step.
        times: of its steps.
        last: its sample after its last step.
    """

    scheduler: Any
    sample: Tensor
    times: list[float] = field(default_factory=list)
    last: Tensor | None = None


class Parts:
    """The parts of the step that is being taken.

    Attributes:
        usual: parts of a whole step, known once the second one has begun; 0 before.
    """

    def __init__(self) -> None:
        self.usual = 0
        self._schedulers: list[Any] = []
        self._given: list[Mapping[str, Any]] = []
        self._after: list[Tensor | None] = []

    def continues(self, scheduler: Any, given: Mapping[str, Any]) -> bool:
        """Whether a step is of a further part: another scheduler of the same class, at the same time and shape."""
        if not self._schedulers or any(scheduler is known for known in self._schedulers):
            return False
        first = self._given[0]
        alike = type(scheduler) is type(self._schedulers[0]) and given["sample"].shape == first["sample"].shape
        return alike and bool((torch.as_tensor(given["timestep"]) == torch.as_tensor(first["timestep"])).all())

    def begin(self) -> None:
        """A new step."""
        self.usual = self.usual or len(self._schedulers)
        self._schedulers, self._given, self._after = [], [], []

    def add(self, scheduler: Any, given: Mapping[str, Any], after: Tensor | None) -> None:
        """One more part: what the scheduler was given, and what it made of it."""
        self._schedulers.append(scheduler)
        self._given.append({"timestep": given["timestep"], "sample": given["sample"].detach().clone()})
        self._after.append(after)

    @property
    def is_whole(self) -> bool:
        """Whether there are as many parts as in the first step; True while that is not known."""
        return len(self._schedulers) >= self.usual

    @property
    def sample(self) -> Tensor:
        """x_t before the step; several parts are stacked after the rows."""
        return _together([given["sample"] for given in self._given])

    @property
    def after(self) -> Tensor | None:
        """x_t after the step; None if its scheduler does not say."""
        known = [after for after in self._after if after is not None]
        return _together(known) if len(known) == len(self._after) else None


def _together(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts, dim=1)


def time_of(given: Mapping[str, Any]) -> float:
    """The time that a scheduler's step was given; some loops give each item its own, and they are equal."""
    return float(torch.as_tensor(given["timestep"]).flatten()[0])


def answer_of(given: Mapping[str, Any]) -> Tensor | None:
    """The denoiser's answer that a scheduler's step was given; None where other tensors change what it does with it.

    (LTX's conditioned pipelines give every token a time, and the scheduler then goes the other way.)
    """
    tensors = {name for name, value in given.items() if isinstance(value, Tensor)}
    return given.get("model_output") if tensors <= {"model_output", "sample", "timestep"} else None


def stepped(out: Any) -> Tensor | None:
    """The sample that a scheduler's step has made."""
    found = out[0] if isinstance(out, tuple) else getattr(out, "prev_sample", None)
    return found if isinstance(found, Tensor) else None
