"""One student in training: what trains it, and all of its state that a checkpoint must hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from condistill import processes
from condistill.cache import Cache
from condistill.distill.losses import LossWeights
from condistill.distill.projections import Pupil
from condistill.distill.step import bare
from condistill.errors import UserError
from condistill.train.log import Log, Meter
from condistill.train.optim import adamw, optimizer_tensors, restore_optimizer
from condistill.train.options import TrainOptions
from condistill.train.sharding import outline, prepared, share_of, whole
from condistill.train.state import Checkpoint
from condistill.train.zero import as_parts_of, holds_shares, parts


@dataclass
class Arm:
    """One student in training.

    Attributes:
        name: of its checkpoint parts ("0", "1", ...).
        student: the Teacher-typed student whose network trains.
        pupil: network and projections, wrapped by accelerate.
        optimizer: its AdamW.
        ema: the moving average of its network.
        log, meter: its own log.
        outline: a network like its student's, to put the weights into where the processes hold shares of them.
    """

    name: str
    student: Any
    pupil: nn.Module
    optimizer: Any
    ema: Any
    log: Log
    meter: Meter = field(default_factory=Meter)
    outline: nn.Module | None = None

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint must hold, part by part; every process must ask, the first one gets it whole."""
        shadow = {str(k): value for k, value in enumerate(self.ema.shadow_params)}
        counted = {"optimization_step": torch.tensor(self.ema.optimization_step)}
        parts = {
            f"{self.name}.pupil": whole(bare(self.pupil).state_dict(keep_vars=True)),
            f"{self.name}.ema": whole({**shadow, **counted}),
            f"{self.name}.optimizer": whole(optimizer_tensors(self.optimizer)),
        }
        # what no line of the log has shown yet, so that the next line is the same with or without a stop before it
        return parts | ({f"{self.name}.meter": shown} if (shown := self.meter.tensors()) else {})

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Puts back what `tensors` gave, tensor by tensor."""
        shadow = {str(k): value for k, value in enumerate(self.ema.shadow_params)}
        counted = {"optimization_step": torch.tensor(0)}
        _copy(dict(bare(self.pupil).state_dict(keep_vars=True)), checkpoint.each(f"{self.name}.pupil"))
        _copy({**shadow, **counted}, checkpoint.each(f"{self.name}.ema"))
        self.ema.optimization_step = int(counted["optimization_step"])
        restore_optimizer(self.optimizer, checkpoint.each(f"{self.name}.optimizer"))
        # what all processes had added is with the first one
        self.meter.restore(checkpoint.tensors(f"{self.name}.meter") if processes.is_main() else {})


def _copy(own: Mapping[str, Any], found: Iterator[tuple[str, Tensor]]) -> None:
    left = set(own)
    for name, value in found:
        shape = getattr(own.get(name), "ds_shape", getattr(own.get(name), "shape", None))
        assert name in left and shape == value.shape, f"{name} is not of this network"
        getattr(own[name], "ds_tensor", own[name]).copy_(share_of(value, own[name]))
        left.remove(name)
    assert not left, f"the checkpoint lacks {sorted(left)[:3]}"


def arms_of(
    students: Sequence[Any], cache: Cache, options: TrainOptions, weights: LossWeights, accelerator: Any, out: Path
) -> list[Arm]:
    """An arm for each student, ready to train."""
    return [
        _arm(k, student, cache, options, weights, accelerator, Log(out / name))
        for k, (student, name) in enumerate(zip(students, log_names(students), strict=True))
    ]


def log_names(students: Sequence[Any]) -> list[str]:
    """The names of their logs in the run folder."""
    return ["log.jsonl"] if len(students) == 1 else [f"log-{k}.jsonl" for k in range(len(students))]


def _arm(
    index: int, student: Any, cache: Cache, options: TrainOptions, weights: LossWeights, accelerator: Any, log: Log
) -> Arm:
    from condistill.train.average import Average

    network = student.network
    network.requires_grad_(True)
    if options.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    if options.channels_last:
        network.to(memory_format=torch.channels_last)
    pairs = student.plan.taps if weights.feature and student.plan is not None else ()
    if weights.feature and not pairs:
        raise UserError("this student has no feature taps; give a student made by teacher.student(), or loss feature=0")
    weights.check_taps([pair.teacher for pair in pairs])
    asker = student.with_call(cache.manifest.call, cache.keys) if student.plan and student.plan.fed_anew else None
    pupil = Pupil(network, pairs, seed=options.seed, asker=asker).to(accelerator.device)
    unfilled = outline(network) if accelerator.is_fsdp2 or holds_shares() else None
    wrapped, optimizer = prepared(accelerator, pupil, adamw(pupil, options), options)
    # from the initialised student, not from a random one
    ema = Average(parts(network.parameters()), decay=options.ema, foreach=True)
    as_parts_of(ema.shadow_params, network.parameters())
    return Arm(name=str(index), student=student, pupil=wrapped, optimizer=optimizer, ema=ema, log=log, outline=unfilled)
