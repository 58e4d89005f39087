"""Training for a given time instead of a given number of steps, resumable; shared by the stages of the teacher."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from condistill.files import atomic
from condistill.progress import Progress

M = TypeVar("M", bound=nn.Module)
WARMUP_STEPS = 150
SAVE_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class Budget:
    """How long a stage trains, where it keeps its state, on what it runs, and the seed of its draws."""

    seconds: float
    state: Path
    device: torch.device
    seed: int = 0


def placed(module: M, device: torch.device) -> M:
    """The module on the device, its convolutions laid out with the channels last, as they run fastest."""
    nn.Module.to(module, device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return module


def lr_factor(step: int, spent: float) -> float:
    """The share of the peak learning rate: linear warm-up, constant for half of the time, cosine to zero.

    Args:
        step: steps made so far.
        spent: the share of the time that is spent, in [0, 1].
    """
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return warm * (1.0 if spent < 0.5 else 0.5 * (1.0 + math.cos(math.pi * min(1.0, 2.0 * spent - 1.0))))


def train_timed(
    step: Callable[[int], Mapping[str, float]],
    budget: Budget,
    *,
    what: str,
    optimizer: torch.optim.Optimizer,
    parts: Mapping[str, Any],
    images_per_step: int,
    on_save: Callable[[], None] | None = None,
) -> int:
    """The number of steps made in all when the time is spent.

    Args:
        step: does one whole step, given its number, and returns what to show.
        parts: everything with a state_dict that a resumed run needs, by name.
        on_save: called after each saved state, for instance to write a draft of the result.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    parts = {**parts, "optimizer": optimizer}
    done, seconds = _resume(budget, parts)
    before, start, saved, first = seconds, time.monotonic(), time.monotonic(), done
    with Progress(what, round(budget.seconds), unit="seconds", done=round(seconds), every_seconds=20) as bar:
        while seconds < budget.seconds:
            factor = lr_factor(done, seconds / budget.seconds)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            shown = step(done)
            done += 1
            now = time.monotonic()
            seconds = before + now - start
            speed = f"{(done - first) * images_per_step / (now - start):.0f}"
            notes = {name: f"{value:.4g}" for name, value in shown.items()}
            bar.advance(round(seconds) - bar.done, step=done, lr=f"{factor:.3f}x", images_per_second=speed, **notes)
            if now - saved > SAVE_EVERY_SECONDS or seconds >= budget.seconds:
                saved = now
                _save(budget.state, parts, done, seconds)
                if on_save is not None:
                    on_save()
    return done


def _save(path: Path, parts: Mapping[str, Any], done: int, seconds: float) -> None:
    state = {"steps": done, "seconds": seconds, "parts": {name: part.state_dict() for name, part in parts.items()}}
    with atomic(path) as temporary:
        torch.save(state, temporary)


def _resume(budget: Budget, parts: Mapping[str, Any]) -> tuple[int, float]:
    if not budget.state.is_file():
        return 0, 0.0
    state = torch.load(budget.state, map_location=budget.device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return state["steps"], state["seconds"]
