"""A plain loop, written from the recipe as it is published: what our training is measured against.

The text encoder runs in the step on every prompt of the batch; teacher and student in float32, or on a GPU under fp16
autocast with the teacher's weights in fp16; features through hooks; AdamW with torch's defaults; the moving average
parameter by parameter; the losses read by the host in every step. Its data, noise and times are handed to it.

Source: arXiv 2504.02011 and BK-SDM, training recipe: batch 64 at a time, fp16, gradient checkpointing, AdamW 5e-5, clip
1.0, EMA; no task loss, as in the former.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional

from condistill.bench.clock import Clock
from condistill.train.options import TrainOptions

Arguments = Callable[[Any, Sequence[str], Tensor, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Given:
    """A batch with everything drawn: x0 (b, *latent), t (b,), eps (b, *latent), b prompts."""

    x0: Tensor
    t: Tensor
    eps: Tensor
    prompts: Sequence[str]


@dataclass
class PlainLoop:
    """One student in plain training.

    Attributes:
        pipeline: the teacher's; its text encoders run in the step.
        teacher, student: the denoisers.
        pairs: (teacher's module, student's module) whose outputs are compared.
        arguments: (pipeline, prompts, x_t, t) -> the denoiser's arguments.
        add_noise: (x0, eps, t) -> x_t.
        options: lr, betas, weight decay, clip and EMA.
        micro_batch: samples at a time.
        clock: where the parts are added up.
    """

    pipeline: Any
    teacher: nn.Module
    student: nn.Module
    pairs: Sequence[tuple[str, str]]
    arguments: Arguments
    add_noise: Callable[[Tensor, Tensor, Tensor], Tensor]
    options: TrainOptions
    micro_batch: int
    clock: Clock
    _taught: dict[str, Tensor] = field(default_factory=dict)
    _learnt: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        on_gpu = self.clock.device.type == "cuda"
        self.half = torch.float16 if on_gpu else torch.float32
        self.teacher = copy.deepcopy(self.teacher).requires_grad_(False)
        if on_gpu:
            self.teacher.to(self.half)
        self.student = copy.deepcopy(self.student).requires_grad_(True)
        if self.options.gradient_checkpointing:
            self.student.enable_gradient_checkpointing()  # type: ignore[operator]
        for theirs, ours in self.pairs:
            _hook(self.teacher, theirs, self._taught)
            _hook(self.student, ours, self._learnt)
        self.scaler = torch.amp.GradScaler("cuda", enabled=on_gpu)  # type: ignore[attr-defined]
        betas, decay = self.options.betas, self.options.weight_decay
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(), lr=self.options.lr, betas=betas, weight_decay=decay
        )
        self.average = EMAModel(self.student.parameters(), decay=self.options.ema, foreach=False)

    def step(self, given: Given) -> float:
        """The loss of one optimiser step."""
        parts = -(-len(given.x0) // self.micro_batch)
        loss = sum(self._part(given, slice(k * self.micro_batch, (k + 1) * self.micro_batch)) for k in range(parts))
        with self.clock.part("optimiser"):
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.student.parameters(), self.options.clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
        with self.clock.part("ema"):
            self.average.step(self.student.parameters())
        return loss

    def _part(self, given: Given, rows: slice) -> float:
        device, clock = self.clock.device, self.clock
        x0, eps, t = (value[rows].to(device) for value in (given.x0, given.eps, given.t))
        share = len(x0) / len(given.x0)
        amp = torch.autocast("cuda", dtype=torch.float16) if device.type == "cuda" else nullcontext()
        with amp:
            x_t = self.add_noise(x0, eps, t)
            with clock.part("encode"), torch.no_grad():
                asked = self.arguments(self.pipeline, given.prompts[rows], x_t, t)
            with clock.part("student forward"):
                answer = self.student(**asked, return_dict=False)[0]
            with clock.part("teacher"):
                target = self.teacher(**_cast(asked, self.half), return_dict=False)[0]
            with clock.part("student forward"):
                output = functional.mse_loss(answer.float(), target.float())
                same = [(self._learnt[ours], self._taught[theirs].detach()) for theirs, ours in self.pairs]
                feature = sum((functional.mse_loss(a.float(), b.float()) for a, b in same), start=output.new_zeros(()))
                loss = output + feature
        with clock.part("logging"):
            shown = [value.item() for value in (loss, output, feature)]
        with clock.part("backward"):
            self.scaler.scale(loss * share).backward()
        return shown[0] * share


def _cast(arguments: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    def cast(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: cast(one) for name, one in value.items()}
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    return {name: cast(value) for name, value in arguments.items()}


def _hook(network: nn.Module, path: str, into: dict[str, Tensor]) -> None:
    module, _, element = path.partition(":")

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        into[path] = output[int(element or 0)] if isinstance(output, tuple) else output

    network.get_submodule(module).register_forward_hook(keep)
