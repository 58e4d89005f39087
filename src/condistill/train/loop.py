"""The training loop: flat, on accelerate, every number a function of (seed, sample number)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from condistill.cache import Cache
from condistill.distill.losses import Terms
from condistill.distill.step import Drawn, Method, bare, distillation_step, draw
from condistill.errors import UserError
from condistill.maths.draws import numbers, permuted
from condistill.progress import Progress
from condistill.train.log import Log, Meter
from condistill.train.optim import learning_rate, load_optimizer_tensors, optimizer_tensors, set_learning_rate
from condistill.train.options import TrainOptions
from condistill.train.state import load_newest, refuse_other_settings, save_checkpoint

SWAP = "swap"  # the checkpoint's part with what the choice of swaps has learned


@dataclass
class Arm:
    """One student in training.

    Attributes:
        name: of its checkpoint parts ("0", "1", ...).
        student: the Teacher-typed student whose network trains.
        pupil: network and projections, wrapped by accelerate.
        optimizer: its AdamW.
        ema: diffusers' EMAModel over the network.
        log, meter: its own log.
    """

    name: str
    student: Any
    pupil: nn.Module
    optimizer: Any
    ema: Any
    log: Log
    meter: Meter = field(default_factory=Meter)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint must hold, part by part."""
        shadow = {str(k): value for k, value in enumerate(self.ema.shadow_params)}
        counted = {"optimization_step": torch.tensor(self.ema.optimization_step)}
        return {
            f"{self.name}.pupil": dict(bare(self.pupil).state_dict()),
            f"{self.name}.ema": {**shadow, **counted},
            f"{self.name}.optimizer": optimizer_tensors(self.optimizer),
        }

    def restore(self, tensors: Any) -> None:
        """Puts back what `tensors` gave."""
        bare(self.pupil).load_state_dict(tensors[f"{self.name}.pupil"])
        shadow = dict(tensors[f"{self.name}.ema"])
        self.ema.optimization_step = int(shadow.pop("optimization_step"))
        for k, value in shadow.items():
            self.ema.shadow_params[int(k)].copy_(value)
        load_optimizer_tensors(self.optimizer, tensors[f"{self.name}.optimizer"])


def train(
    teacher: Any,
    arms: list[Arm],
    cache: Cache,
    *,
    method: Method,
    options: TrainOptions,
    accelerator: Any,
    network: nn.Module,
    settings: dict[str, Any],
    folder: Path,
    progress: bool,
) -> int:
    """The number of steps done when it ends; goes on from the newest checkpoint in `folder`.

    Raises:
        UserError: other settings than the run was started with; a loss that is not finite.
        KeyboardInterrupt: stopped by a signal, after a checkpoint.
    """
    checkpoints = folder / "checkpoints"
    found = load_newest(checkpoints)
    step, before = 0, 0.0
    if found is not None:
        refuse_other_settings(found.settings, settings, folder=folder)
        step, before = found.step, found.seconds
        for arm in arms:
            arm.restore(found.tensors)
        method.swap.restore(found.tensors.get(SWAP, {}))
        if step > options.steps:
            raise UserError(f"{folder} is already at step {step}, past the {options.steps} asked for")
    del found
    is_main = accelerator.is_main_process
    if is_main:
        for arm in arms:
            arm.log.rewind(step)
            if step == 0:
                about = {"steps": options.steps, "batch": options.batch, "seed": options.seed}
                size = sum(p.numel() for p in bare(arm.pupil).network.parameters())
                arm.log.write({"event": "start", "step": 0, **about, "parameters": size, **settings})

    share = options.batch // accelerator.num_processes
    micro = min(options.micro_batch or share, share)
    if options.batch % accelerator.num_processes or share % micro:
        raise UserError(
            f"a batch of {options.batch} does not divide into {accelerator.num_processes} processes with a micro-batch "
            f"of {micro}; choose numbers that do"
        )
    start, last_line, last_step = time.monotonic(), time.monotonic(), step

    def checkpoint() -> None:
        if is_main:
            parts = {name: some for arm in arms for name, some in arm.tensors().items()}
            parts |= {SWAP: learned} if (learned := method.swap.tensors()) else {}
            seconds = before + time.monotonic() - start
            save_checkpoint(checkpoints, step, parts, settings=settings, seconds=seconds, keep=options.keep_checkpoints)
        accelerator.wait_for_everyone()

    bar = Progress("training", options.steps, unit="steps", done=step, enabled=progress and is_main)
    with bar, interruptible() as stop:
        while step < options.steps:
            for arm in arms:
                bare(arm.pupil).train()
                set_learning_rate(arm.optimizer, learning_rate(step, options))
            first = step * options.batch + accelerator.process_index * share
            for begin in range(first, first + share, micro):
                is_last = begin + micro == first + share
                sample_numbers = numbers(begin, micro)
                batch = cache.read(permuted(method.seed, "order", sample_numbers, len(cache)))
                drawn = draw(batch, sample_numbers, method, teacher.noise_path)
                with ExitStack() as synchronised:
                    for arm in () if is_last else arms:
                        synchronised.enter_context(accelerator.no_sync(arm.pupil))
                    with accelerator.autocast():
                        pupils = [arm.pupil for arm in arms]
                        losses = distillation_step(teacher, pupils, batch, drawn, method=method, network=network)
                    for arm, terms in zip(arms, losses, strict=True):
                        refuse_not_finite(terms, drawn, step=step, arm=arm)
                        accelerator.backward(terms.loss * (micro / share))
                        arm.meter.add(terms, drawn)
                    method.swap.learn(drawn.keys.keys, drawn.u, [terms.output for terms in losses])
            norms = []
            for arm in arms:
                limit = options.clip if options.clip > 0 else float("inf")
                norms.append(accelerator.clip_grad_norm_(arm.pupil.parameters(), limit))
                arm.optimizer.step()
                arm.optimizer.zero_grad(set_to_none=True)
                arm.ema.step(bare(arm.pupil).network.parameters())
            method.swap.settle(lambda rows: accelerator.gather(rows.to(accelerator.device)))
            step += 1

            is_due = step % options.checkpoint_every == 0 or step == options.steps or stop.is_set()
            if step % options.log_every == 0 or is_due:
                now = time.monotonic()
                speed = (step - last_step) * options.batch / max(now - last_line, 1e-9)
                for arm, norm in zip(arms, norms, strict=True):
                    if is_main:
                        arm.log.write(
                            {"event": "step", "step": step, "loss": arm.meter.loss, **arm.meter.means()}
                            | {"lr": learning_rate(step - 1, options), "grad_norm": float(norm)}
                            | {"samples_per_second": speed, "seconds": before + now - start}
                        )
                last_line, last_step, shown = now, step, f"{arms[0].meter.loss:.4g}"
                for arm in arms:
                    arm.meter.clear()
                bar.advance(0, loss=shown)
            bar.advance(1)
            if is_due:
                checkpoint()
            if stop.is_set() and step < options.steps:
                raise KeyboardInterrupt
    if is_main:
        for arm in arms:
            arm.log.write({"event": "end", "step": step, "seconds": before + time.monotonic() - start})
    return step


def refuse_not_finite(terms: Terms, drawn: Drawn, *, step: int, arm: Arm) -> None:
    """Nothing, if the loss is finite. Called before the backward pass, so the weights are still good.

    Raises:
        UserError: naming the step, the term and the timestep bin.
    """
    if bool(torch.isfinite(terms.loss)):
        return
    found = {"output": terms.output, **{f"feature {name}": value for name, value in terms.taps.items()}}
    if terms.task is not None:
        found["task"] = terms.task
    for name, value in found.items():
        bad = ~torch.isfinite(value.cpu())
        if bad.any():
            low = int(drawn.u[bad][0] * 10) / 10
            raise UserError(
                f"the loss of student {arm.name} is not finite at step {step}: term {name}, timesteps u in "
                f"[{low:.1f}, {low + 0.1:.1f}); the last checkpoint is kept: lower train.lr, or use precision no"
            )
    raise UserError(f"the loss of student {arm.name} is not finite at step {step}: the sum of its terms overflowed")


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets, so that the step in progress is finished; a second one stops."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(*_: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
