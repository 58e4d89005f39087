"""Setting: a teacher, D and C on disk, our run and the plain loop on the same draws."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor

from condistill.bench.clock import Clock
from condistill.bench.plain import Given, PlainLoop
from condistill.bench.sizes import Size
from condistill.bench.stepping import Paced, Stepping
from condistill.cache import Cache, Manifest
from condistill.distill import step
from condistill.distill.projections import Pupil
from condistill.distill.step import Method, draw
from condistill.maths.draws import normal, numbers, permuted
from condistill.maths.noise_path import FlowPath
from condistill.maths.p_random import p_random as p_random_of
from condistill.teacher import Teacher
from condistill.train import distill, loop
from condistill.train.api import whole_corpus
from condistill.train.average import Average
from condistill.train.log import Log, Meter
from condistill.train.options import TrainOptions

P_RANDOM = "exponential"
NUM_ITEMS = 256
NUM_TEXTS = 100_000  # of C, where it is not the world's: far more than a bench draws, so that swapped keys are new


@dataclass(frozen=True)
class Setting:
    """What both loops share.

    Attributes:
        size: what is timed.
        teacher: the Teacher, on its device.
        folder: for D and logs.
        prompts: of D's items.
        corpus: C.
        options: of our training.
        plain: fields of the options that the plain loop has otherwise.
    """

    size: Size
    teacher: Any
    folder: Path
    prompts: Sequence[str]
    corpus: Any
    options: TrainOptions
    plain: Mapping[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.teacher.device

    @functools.cached_property
    def cache(self) -> Cache:
        """D: random latents of unit variance; what is in them does not change how long a step takes."""
        shape = self.teacher.latent_shape
        manifest = Manifest(
            teacher=self.teacher.hash, pipeline=type(self.teacher.pipeline).__name__, call={}, seed=0,
            num_items=NUM_ITEMS, shard_items=NUM_ITEMS, latent_shape=tuple(shape), dtype="float16",
        )  # fmt: skip
        keys = [self.prompts[k % len(self.prompts)] for k in range(NUM_ITEMS)]
        found = Cache.create(self.folder / "D", manifest, keys, range(NUM_ITEMS))
        found.write_shard(0, normal(0, "bench", numbers(0, NUM_ITEMS), shape).half())
        return Cache.open(self.folder / "D")

    def student(self, spec: str) -> Any:
        """A student that starts from the teacher's weights, on its device."""
        found = self.teacher.student(spec, init="inherit")
        found.network.to(self.device)
        return found

    @functools.cached_property
    def method(self) -> Method:
        """What our training draws by."""
        null, corpus = self.teacher.null_key, whole_corpus(self.corpus, self.cache)
        return Method(
            p_random_of(P_RANDOM), corpus, p_null=self.options.p_null if null is not None else 0.0, null_key=null
        )

    def run(self, students: Sequence[Any], name: str, log_every: int, **changes: Any) -> Stepping:
        """Our training of copies of these students, standing before its first step; its log is in `folder / name`.

        Args:
            changes: of its options.
        """
        copies = [one.with_network(copy.deepcopy(one.network), plan=one.plan) for one in students]
        options = {**dataclasses.asdict(self.options), **changes, "trackers": "none"}
        options |= {"log_every": log_every, "seed": self.method.seed}
        if self.teacher.null_key is None:
            options.pop("p_null")

        def begin(swap: Paced) -> None:
            distill(
                self.teacher, copies, self.cache, corpus=self.corpus, p_random=P_RANDOM, swap=swap,
                out=self.folder / name, progress=False, **options,
            )  # fmt: skip

        return Stepping(begin)

    def plain_loop(self, student: Any, clock: Clock) -> PlainLoop:
        """The plain training of the same student."""
        from diffusers import DDPMScheduler

        vp: Any = DDPMScheduler.from_config(self.teacher.scheduler.config)
        flows = isinstance(self.teacher.noise_path, FlowPath)
        return PlainLoop(
            pipeline=self.teacher.pipeline,
            teacher=self.teacher.network,
            student=student.network,
            pairs=[(pair.teacher, pair.student) for pair in student.plan.taps],
            arguments=self.size.arguments,
            add_noise=_flow_noise if flows else vp.add_noise,
            options=dataclasses.replace(self.options, **{"gradient_checkpointing": False, **self.plain}),
            micro_batch=min(self.options.batch, self.size.batch),
            clock=clock,
        )

    def given(self, number: int) -> Given:
        """What our training draws for step `number`, for the plain loop."""
        sample_numbers = numbers(number * self.options.batch, self.options.batch)
        batch = self.cache.read(permuted(self.method.seed, "order", sample_numbers, len(self.cache)))
        drawn = draw(batch, sample_numbers, self.method, self.teacher.noise_path)
        return Given(batch.x0, drawn.t, drawn.eps, [str(key) for key in drawn.keys.keys])


def setting(size: Size, folder: Path, *, tiny: bool, device: torch.device, batch: int | None) -> Setting:
    """The setting of one size; `tiny` networks train in the CPU's precision wherever they are."""
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        pipeline = size.pipeline(tiny)
    pipeline.to(device)
    teacher = Teacher.from_pipeline(pipeline)
    on_gpu = device.type == "cuda"
    chosen: dict[str, Any] = (
        dict(size.options) if on_gpu or not size.needs_gpu else {"channels_last": "channels_last" in size.options}
    )
    if batch is not None:
        chosen["micro_batch"] = min(batch, chosen.get("micro_batch") or batch)
    options = TrainOptions(steps=1_000_000, batch=batch or size.batch, checkpoint_every=1_000_000, **chosen)
    corpus: Any = [f"number {k} of many texts" for k in range(NUM_TEXTS if on_gpu else 1000)]
    prompts = [f"a text of D, number {k}" for k in range(NUM_ITEMS)]
    if not size.needs_gpu:
        from condistill.world import emoji

        corpus, prompts = {"world": "emoji"}, emoji.prompts("seen")
    return Setting(size, teacher, folder, prompts, corpus, options, size.plain if on_gpu else {})


@contextlib.contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Inside the block the parts of our steps are added to the clock."""
    calls = [
        (Cache, "read", "data"), (loop, "draw", "draws"), (Teacher, "encode", "encode"), (step, "_answer", "teacher"),
        (Pupil, "__call__", "student forward"), (Accelerator, "backward", "backward"),
        (Accelerator, "clip_grad_norm_", "optimiser"), (AcceleratedOptimizer, "step", "optimiser"),
        (AcceleratedOptimizer, "zero_grad", "optimiser"), (Average, "step", "ema"), (loop, "not_finite", "logging"),
        (Meter, "add", "logging"), (Meter, "means", "logging"), (Log, "write", "logging"),
    ]  # fmt: skip
    with clock.watching(calls):
        yield


def _flow_noise(x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    sigma = (t / 1000.0).view(-1, *[1] * (x0.ndim - 1))
    return (1 - sigma) * x0 + sigma * eps
