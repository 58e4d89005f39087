"""AdamW, its learning rate as a function of the step, and its state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from condistill.train.options import TrainOptions


def adamw(module: nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW over the parameters that train, fused where the device has it."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        parameters, lr=options.lr, betas=options.betas, weight_decay=options.weight_decay, fused=_can_fuse(parameters)
    )


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    return all(p.device.type in ("cuda", "cpu") and p.dtype == torch.float32 for p in parameters)


def learning_rate(step: int, options: TrainOptions) -> float:
    """The learning rate of optimiser step `step` (from 0): linear warm-up, then constant or cosine to 0.

    >>> learning_rate(0, TrainOptions(steps=10, lr=1.0, warmup_steps=2))
    0.5
    """
    if step < options.warmup_steps:
        return options.lr * (step + 1) / options.warmup_steps
    if options.lr_schedule == "constant":
        return options.lr
    share = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    return options.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


def set_learning_rate(optimizer: Any, value: float) -> None:
    """Sets the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = value


def optimizer_tensors(optimizer: Any) -> dict[str, Tensor]:
    """AdamW's state as tensors by "index.name"."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, row in state.items() for name, value in row.items()}


def load_optimizer_tensors(optimizer: Any, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        index, _, name = path.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
