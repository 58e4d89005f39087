"""`condistill.distill`: from a teacher, a student and D to a trained student in a run folder."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from condistill.cache import Cache
from condistill.cache.values import named as named_value
from condistill.cache.values import plain
from condistill.distill.losses import LossWeights, check_task
from condistill.distill.step import Method, bare
from condistill.distill.swap import swap_of
from condistill.errors import UserError, unknown_name
from condistill.files import atomic_folder
from condistill.lock import alone
from condistill.maths.p_random import describe
from condistill.maths.p_random import p_random as p_random_of
from condistill.students.making import fit
from condistill.students.meta import clean
from condistill.teacher.cutting import report_cut
from condistill.teacher.saving import check_savable
from condistill.train.arm import Arm, arms_of, log_names
from condistill.train.auto_p import measured
from condistill.train.checkpointing import is_checkpointed
from condistill.train.compiling import is_compiled
from condistill.train.log import Log
from condistill.train.loop import Trained, train
from condistill.train.options import FREE_TO_CHANGE, TrainOptions
from condistill.train.sharding import engine, filled
from condistill.train.trackers import named
from condistill.train.tracking import tracked
from condistill.train.validation import validation_of
from condistill.train.zero import parts


@dataclass(frozen=True)
class Result:
    """A finished distillation.

    Attributes:
        student: the trained student, with the weights that were saved.
        students: all of them, where several were trained at once.
        folder: the run folder.
        steps: optimiser steps done in all.
    """

    student: Any
    students: tuple[Any, ...]
    folder: Path
    steps: int

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log: log.jsonl, or that of the first of several students, log-0.jsonl."""
        return Log(self.folder / log_names(self.students)[0]).rows()


def distill(
    teacher: Any,
    student: Any,
    cache: Cache | str | Path,
    *,
    corpus: Any = None,
    p_random: Any = "exponential",
    swap: Any = "uniform",
    steps: int,
    batch: int = 256,
    out: str | Path,
    loss: LossWeights | Mapping[str, Any] | None = None,
    progress: bool | str | Path = True,
    **options: Any,
) -> Result:
    """The student, trained in place on D with random conditioning from C, and saved under `out`.

    Run again with the same arguments it goes on from its newest checkpoint, or returns at once if it was done.

    Args:
        teacher: a Teacher.
        student: a student of it, or several: one teacher pass serves them all.
        cache: D, or its folder.
        corpus: C: keys, a file, or any corpus; D's own conditions are always part of it.
        p_random: p(u), see `condistill.p_random`; "auto" is measured on D at the start.
        swap: which key of C a swapped sample gets: "uniform", "gap" or "similarity", see `condistill.distill.swap`.
        steps: optimiser steps in all.
        batch: samples per step over all processes.
        out: run folder: log.jsonl, checkpoints/, student/ (for several: students/0/ ...).
        loss: {"output", "feature", "task", "guidance", "taps"}, see `LossWeights`.
        progress: show rate and time left, also as JSON lines in progress.jsonl of the run folder, or the file named.
        options: further fields of `TrainOptions` (lr, ema, seed, ...).

    Raises:
        UserError: unknown option, D of another teacher, a folder with another run, a loss that is not finite.

    Source: arXiv 2504.02011, algorithm 1 and training recipe.
    """
    wanted = _options(steps, batch, options)
    weights = loss if isinstance(loss, LossWeights) else _weights(loss or {})
    students = list(student) if isinstance(student, Sequence) else [student]
    opened: Cache = Cache.open(cache) if isinstance(cache, str | Path) else cache
    _refuse_other_teacher(teacher, opened)
    teacher = teacher.with_call(opened.manifest.call, opened.keys)
    _fit_students(teacher, students, weights)
    wanted = _with_null(wanted, teacher, is_asked="p_null" in options)
    log = Path(out) / log_names(students)[0]
    method = Method(
        p_random=measured(p_random_of(p_random), teacher, opened, before=log),
        corpus=whole_corpus(corpus, opened),
        weights=weights,
        p_null=wanted.p_null,
        null_key=teacher.null_key,
        seed=wanted.seed,
        swap=swap_of(swap),
    )
    report_cut(teacher, method.corpus, "conditions of C")
    method.swap.begin(teacher, method.corpus)
    wanted = dataclasses.replace(
        wanted, compile=is_compiled(wanted, teacher.device, before=log),
        gradient_checkpointing=is_checkpointed(wanted, teacher, students, before=log),
    )  # fmt: skip
    accelerator = _accelerator(teacher, wanted)
    arms = arms_of(students, opened, wanted, weights, accelerator, Path(out))
    settings = _settings(teacher, students, opened, method, wanted)
    with alone(out), tracked(wanted.trackers, Path(out), arms, settings=settings) as tracking:
        looked_at = validation_of(
            teacher, arms, opened, method=method, options=wanted, folder=Path(out), tracking=tracking
        )
        done = train(
            teacher, arms, opened, method=method, options=wanted, accelerator=accelerator, settings=settings,
            network=asked_network(teacher, wanted), folder=Path(out), progress=progress, validation=looked_at,
        )  # fmt: skip
        _save(arms, done, wanted, accelerator, Path(out))
    return Result(student=students[0], students=tuple(students), folder=Path(out), steps=done.steps)


def _options(steps: int, batch: int, given: Mapping[str, Any]) -> TrainOptions:
    known = {field.name for field in dataclasses.fields(TrainOptions)}
    for name in given:
        if name not in known:
            raise unknown_name("option of distill", name, known)
    named(given.get("trackers", "none"))  # a wrong name is said before anything is measured
    return TrainOptions(steps=steps, batch=batch, **given)


def _with_null(options: TrainOptions, teacher: Any, *, is_asked: bool) -> TrainOptions:
    """The options, without dropping conditions where the teacher has no null condition."""
    if options.p_null == 0 or teacher.null_key is not None:
        return options
    if is_asked:
        raise UserError(f"got p_null={options.p_null}, but this teacher has no null condition; leave p_null out")
    return dataclasses.replace(options, p_null=0.0)


def _save(arms: Sequence[Arm], done: Trained, options: TrainOptions, accelerator: Any, out: Path) -> None:
    """Puts the weights that are to be kept into the students and writes their pipeline folders, whole or not at all."""
    for k, arm in enumerate(arms):
        network = bare(arm.pupil).network
        if options.save == "ema":
            arm.ema.foreach = arm.outline is None  # torch 2.13 does not copy shares by foreach
            arm.ema.copy_to(parts(network.parameters()))
        if arm.outline is not None:
            network = filled(arm.outline, network)
            setattr(arm.student.pipeline, arm.student.component, network)
        network.eval()
        if accelerator.is_main_process:
            with atomic_folder(out / "students" / str(k) if len(arms) > 1 else out / "student") as folder:
                arm.student.save(folder)
            # last, because this line vouches for the student's folder
            arm.log.write({"event": "end", "step": done.steps, "seconds": done.seconds})
    accelerator.wait_for_everyone()


def whole_corpus(given: Any, cache: Cache) -> Any:
    """C: the given corpus and those of D's own conditions that it lacks (a large one is not searched for them)."""
    from condistill.corpus import corpus as corpus_of

    own = list({json.dumps(key, sort_keys=True, default=str): key for key in cache.keys}.values())
    if given is None:
        return corpus_of(own)
    extra = corpus_of(given)
    if len(extra) <= 200_000:  # a second or so; beyond that a doubled condition among so many does not matter
        present = {json.dumps(extra[k], sort_keys=True, default=str) for k in range(len(extra))}
        own = [key for key in own if json.dumps(key, sort_keys=True, default=str) not in present]
    return corpus_of({"mixture": [{"source": extra}, {"source": own}]}) if own else extra


def _weights(given: Mapping[str, Any]) -> LossWeights:
    known = [field.name for field in dataclasses.fields(LossWeights)]
    for name in given:
        if name not in known:
            raise unknown_name("loss", name, known)
    return LossWeights(**given)


def _fit_students(teacher: Any, students: Sequence[Any], weights: LossWeights) -> None:
    if weights.guidance != 1.0 and teacher.null_key is None:
        raise UserError(
            f"got loss.guidance={weights.guidance:g}, but this teacher has no null condition to guide away from; leave "
            "it out"
        )
    check_task(weights, teacher)
    for student in students:
        check_savable(student.pipeline)
        plan, network = student.plan, teacher.network
        if plan is not None:
            same = plan.cls is type(network) and plain(plan.teacher_config, named_value) == plain(
                clean(network.config), named_value
            )
        else:
            same = set(student.calibration.key_paths) == set(teacher.calibration.key_paths)
        if not same:
            raise UserError(
                f"the student ({type(student.network).__name__}) is not one of this teacher ({type(network).__name__}) "
                "and its size; make it with teacher.student(SPEC)"
            )
        fit(teacher, student)


def _refuse_other_teacher(teacher: Any, cache: Cache) -> None:
    if cache.manifest.teacher != teacher.hash:
        raise UserError(
            f"{cache.folder} was made by another teacher ({cache.manifest.teacher[:12]}, this one is "
            f"{teacher.hash[:12]}); make D again with this teacher, or give the one it was made with"
        )


def _accelerator(teacher: Any, options: TrainOptions) -> Any:
    from accelerate import DistributedDataParallelKwargs

    on_cpu = teacher.device.type == "cpu"
    # no buffer changes in training; a network may have parameters that its pipeline does not reach, which DDP must look
    # for, but not where activations are made anew
    ddp = DistributedDataParallelKwargs(
        broadcast_buffers=False, find_unused_parameters=not options.gradient_checkpointing
    )
    return engine(mixed_precision=options.precision, cpu=on_cpu, kwargs_handlers=[ddp])


def asked_network(teacher: Any, options: TrainOptions) -> nn.Module:
    """The teacher's network in the precision and layout that the targets are computed in."""
    network = teacher.network.eval()
    if options.teacher_precision == "no" and not options.channels_last:
        return network
    asked = copy.deepcopy(network).requires_grad_(False)
    if options.teacher_precision == "bf16":
        asked = asked.to(torch.bfloat16)
    return asked.to(memory_format=torch.channels_last) if options.channels_last else asked


def _settings(teacher: Any, students: list[Any], cache: Cache, method: Method, options: TrainOptions) -> dict[str, Any]:
    """What a run may not change between two starts."""
    names = [field.name for field in dataclasses.fields(options) if field.name not in FREE_TO_CHANGE]
    fixed = {name: getattr(options, name) for name in names}
    if not options.compile:
        fixed.pop("compile")  # a run that was started before there was a choice goes on
    if options.lr_schedule == "cosine":
        fixed["steps_of_schedule"] = options.steps
    found = {
        "teacher": teacher.hash,
        "cache": cache.manifest.id,
        "corpus": method.corpus.describe(),
        "p_random": describe(method.p_random),
        "loss": dataclasses.asdict(method.weights),
        "students": [_identity(one) for one in students],
        "train": fixed,
    }
    if (swap := method.swap.describe())["by"] != "uniform":
        found["swap"] = swap  # a run that was started before there was a choice goes on
    return json.loads(json.dumps(found, default=str))


def _identity(student: Any) -> dict[str, Any]:
    plan = student.plan
    config = {k: v for k, v in getattr(student.network, "config", {}).items() if not str(k).startswith("_")}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return {
        "spec": str(plan.spec) if plan is not None else None,
        "init": plan.init if plan is not None else None,
        "config": digest,
        "parameters": sum(getattr(p, "ds_numel", p.numel()) for p in student.network.parameters()),
    }
