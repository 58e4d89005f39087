"""AdamW, its learning rate as a function of the step, and its state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from condistill.train.options import TrainOptions
from condistill.train.sharding import share_of
from condistill.train.zero import ZeroOptimizer


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
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer.tensors()
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, row in state.items() for name, value in row.items()}


@torch.no_grad()
def restore_optimizer(optimizer: Any, found: Iterable[tuple[str, Tensor]]) -> None:
    """Puts back what `optimizer_tensors` gave, tensor by tensor: torch's own way holds all of it twice."""
    if isinstance(optimizer, ZeroOptimizer):
        optimizer.restore(found)
        return
    inner = getattr(optimizer, "optimizer", optimizer)  # inside accelerate's
    owners = [(group, p) for group in inner.param_groups for p in group["params"]]
    inner.state.clear()
    for path, value in found:
        index, _, name = path.partition(".")
        group, parameter = owners[int(index)]
        stays = name == "step" and not (group.get("fused") or group.get("capturable"))
        value = value.clone() if stays else value.to(parameter.device, copy=True)
        inner.state[parameter][name] = value if name == "step" else share_of(value, parameter)


def scaler_tensors(scaler: Any) -> dict[str, Tensor]:
    """What the gradient scaler of fp16 has learned; empty where there is none."""
    found = {} if scaler is None else scaler.state_dict()
    names = ("scale", "_growth_tracker")
    return {name: torch.tensor(float(found[name]), dtype=torch.float64) for name in names if name in found}


def restore_scaler(scaler: Any, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `scaler_tensors` gave."""
    if scaler is not None and tensors:
        learned = {"scale": float(tensors["scale"]), "_growth_tracker": int(tensors["_growth_tracker"])}
        scaler.load_state_dict(scaler.state_dict() | learned)
