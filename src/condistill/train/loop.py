"""The training loop: flat, on accelerate, every number a function of (seed, sample number)."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from condistill.cache import Cache
from condistill.distill.step import Method, bare, distillation_step, draw
from condistill.errors import UserError
from condistill.files import sweep
from condistill.maths.draws import numbers, permuted
from condistill.memory import is_out_of_memory, room_made
from condistill.progress import Progress, file_in
from condistill.stopping import interruptible
from condistill.train.arm import Arm
from condistill.train.compiling import compiled_of
from condistill.train.faults import not_finite, refuse_not_finite, smaller
from condistill.train.log import notes_of
from condistill.train.optim import learning_rate, restore_scaler, scaler_tensors, set_learning_rate
from condistill.train.options import TrainOptions
from condistill.train.sharding import backward, clipped, in_precision, refuse_blocks, unsummed
from condistill.train.state import load_newest, refuse_other_settings, save_checkpoint
from condistill.train.validation import Validation
from condistill.train.zero import parts

SWAP, SCALER = "swap", "scaler"  # parts of a checkpoint: what the choice of swaps, and fp16's scaler, have learned


@dataclass(frozen=True)
class Trained:
    """How long a run has trained, over all of its starts."""

    steps: int
    seconds: float


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
    progress: bool | str | Path,
    validation: Validation | None = None,
) -> Trained:
    """The steps done when it ends; goes on from the newest checkpoint in `folder`.

    Raises:
        UserError: other settings than the run was started with; a loss that is not finite; no memory.
        KeyboardInterrupt: stopped by a signal, after a checkpoint.
    """
    checkpoints, is_main = folder / "checkpoints", accelerator.is_main_process
    found = load_newest(checkpoints)
    step, before, skipped = 0, 0.0, 0
    if found is not None:
        refuse_other_settings(found.settings, settings, folder=folder)
        step, before, skipped = found.step, found.seconds, found.counts["skipped"]
        if step > options.steps:
            raise UserError(f"{folder} is already at step {step}, past the {options.steps} asked for")
        for arm in arms:
            arm.restore(found)
        method.swap.restore(found.tensors(SWAP))
        restore_scaler(accelerator.scaler, found.tensors(SCALER))
    if is_main:
        sweep(folder, checkpoints)
        for arm in arms:
            about = {"steps": options.steps, "batch": options.batch, "seed": options.seed}
            size = sum(getattr(p, "ds_numel", p.numel()) for p in bare(arm.pupil).network.parameters())
            arm.log.begin({"event": "start", "step": 0, **about, "parameters": size, **settings}, step=step)
    if validation is not None:
        validation.begin(step)
        validation.after(step)

    share = options.batch // accelerator.num_processes
    micro = min(options.micro_batch or share, share)
    if options.batch % accelerator.num_processes or share % micro:
        raise UserError(
            f"a batch of {options.batch} does not divide into {accelerator.num_processes} processes with a micro-batch "
            f"of {micro}; choose numbers that do"
        )
    compiled = compiled_of(network, arms) if options.compile else []
    start, last_line, last_step = time.monotonic(), time.monotonic(), step

    def checkpoint() -> None:
        for arm in arms:
            arm.meter.gather()
        parts = {name: some for arm in arms for name, some in arm.tensors().items()}
        if is_main:
            learned = {SWAP: method.swap.tensors(), SCALER: scaler_tensors(accelerator.scaler)}
            for arm in arms:
                arm.log.sync()
            save_checkpoint(
                checkpoints, step, parts | {name: some for name, some in learned.items() if some}, settings=settings,
                seconds=before + time.monotonic() - start, keep=options.keep_checkpoints, counts={"skipped": skipped},
            )  # fmt: skip
        accelerator.wait_for_everyone()

    bar = Progress(
        "training", options.steps, done=step, enabled=bool(progress) and is_main, file=file_in(folder, progress),
        folder=folder,
    )  # fmt: skip
    with bar, interruptible() as stop:
        while step < options.steps:
            for arm in arms:
                bare(arm.pupil).train()
                set_learning_rate(arm.optimizer, learning_rate(step, options))
            first = step * options.batch + accelerator.process_index * share
            done, bad, is_full = [], [""] * len(arms), False
            try:
                for begin in range(first, first + share, micro):
                    is_last = begin + micro == first + share
                    sample_numbers = numbers(begin, micro)
                    batch = cache.read(permuted(method.seed, "order", sample_numbers, len(cache)))
                    drawn = draw(batch, sample_numbers, method, teacher.noise_path)
                    with ExitStack() as within:
                        for one in compiled:
                            within.enter_context(one.running())
                        for arm in () if is_last else arms:
                            within.enter_context(unsummed(accelerator, arm.pupil))
                        with in_precision(accelerator, options):
                            pupils = [arm.pupil for arm in arms]
                            losses = distillation_step(teacher, pupils, batch, drawn, method=method, network=network)
                        for k, (arm, terms) in enumerate(zip(arms, losses, strict=True)):
                            if why := not_finite(terms, drawn):
                                refuse_not_finite(arm.name, why, step=step, num_skipped=skipped, options=options)
                            bad[k] = bad[k] or why
                            # where one process skips the step, so do the others: their sum is not finite either
                            backward(accelerator, arm.pupil, terms.loss * (math.nan if why else micro / share))
                    done.append((drawn.without_noise(), [terms.without_graph() for terms in losses]))
                    del losses
            except (RuntimeError, OSError, MemoryError) as error:
                if not is_out_of_memory(error):
                    refuse_blocks(error)
                    raise
                is_full, whole = True, micro
                micro = smaller(
                    micro, share=share, step=step, num_processes=accelerator.num_processes, is_auto=options.auto_batch
                )
            if is_full:  # the same step again, with the same draws; nothing of it has been counted
                done.clear()
                for arm in arms:
                    arm.optimizer.zero_grad(set_to_none=True)
                    arm.log.write({"event": "micro_batch", "step": step + 1, "from": whole, "to": micro})
                room_made()
                continue
            for drawn, losses in done:
                method.swap.learn(drawn.keys.keys, drawn.u, [terms.output for terms in losses])
            norms = []
            for k, arm in enumerate(arms):
                limit = options.clip if options.clip > 0 else float("inf")
                norms.append(clipped(accelerator, arm.optimizer, list(arm.pupil.parameters()), limit))
                if accelerator.scaler is None and not math.isfinite(norms[k]):  # fp16's scaler looks for itself
                    bad[k] = bad[k] or "its gradient"
                if bad[k]:
                    refuse_not_finite(arm.name, bad[k], step=step, num_skipped=skipped, options=options)
                    skipped += 1
                    if is_main:
                        arm.log.write({"event": "skip", "step": step + 1, "why": bad[k]})
                if not bad[k] or accelerator.scaler is not None:
                    arm.optimizer.step()  # fp16's scaler leaves the weights as they are, and must be told of every step
                if not bad[k]:
                    arm.ema.step(parts(bare(arm.pupil).network.parameters()))
                    for drawn, losses in done:
                        arm.meter.add(losses[k], drawn)
                arm.optimizer.zero_grad(set_to_none=True)
            method.swap.settle(lambda rows: accelerator.gather(rows.to(accelerator.device)))
            step += 1

            is_last = step == options.steps
            is_due = step % options.checkpoint_every == 0 or is_last
            if step % options.log_every == 0 or is_due:
                now = time.monotonic()
                speed = (step - last_step) * options.batch / max(now - last_line, 1e-9)
                for arm, norm in zip(arms, norms, strict=True):
                    arm.meter.gather()
                    if is_main and not arm.meter.is_empty:
                        row = {"event": "step", "step": step, "loss": arm.meter.loss, **arm.meter.means()}
                        row |= {"lr": learning_rate(step - 1, options), "grad_norm": norm}
                        row |= {"samples_per_second": speed, "seconds": before + now - start}
                        arm.log.write(row)
                        bar.advance(0, **notes_of(row, arm.name if len(arms) > 1 else ""))
                    arm.meter.clear()
                last_line, last_step = now, step
            bar.advance(1)
            stopping = agreed(stop.is_set(), accelerator)
            if is_due or stopping:
                checkpoint()
            if stopping and not is_last:
                raise KeyboardInterrupt
            if validation is not None:
                last_line += validation.after(step)
    return Trained(step, before + time.monotonic() - start)


def agreed(is_set: bool, accelerator: Any) -> bool:
    """Whether any of the processes says so; all of them learn the same, so that they stop after the same step."""
    if accelerator.num_processes == 1:
        return is_set
    return bool(accelerator.reduce(torch.tensor(float(is_set), device=accelerator.device), "sum") > 0)
