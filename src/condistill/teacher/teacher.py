"""Teacher: a pipeline as a denoiser. The student is of the same type: what samples or scores one does it to the other.

>>> teacher = Teacher.load("emoji")                                                           # doctest: +SKIP
>>> teacher.predict(torch.randn(1, *teacher.latent_shape), 500, teacher.encode(["a panda"]))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from condistill.errors import UserError, panics_said
from condistill.maths.noise_path import NoisePath, between, noise_path
from condistill.maths.randomise import Key
from condistill.teacher.answers import answer_sign
from condistill.teacher.calibrate import calibrate
from condistill.teacher.calibration import Calibration
from condistill.teacher.calling import answered, call_arguments, precision_of, prediction, stacked_rows, times_of
from condistill.teacher.checking import check_call, check_sample, unknown_noise
from condistill.teacher.condition import Condition, in_order
from condistill.teacher.encoding import Encoder
from condistill.teacher.failing import NotRun
from condistill.teacher.identity import denoiser_name, pipeline_hash
from condistill.teacher.keys import examples_among, recording_call
from condistill.teacher.recalibrate import recalibrated
from condistill.teacher.running import exchanged, uncompiled
from condistill.teacher.sampling import Samples, sampled
from condistill.teacher.saving import save_pipeline

if TYPE_CHECKING:
    from condistill.students import StudentPlan


class Teacher:
    """A conditional diffusion pipeline seen as a denoiser.

    Attributes:
        pipeline: the diffusers pipeline; sampling is always its own.
        component: the name of the denoiser in it.
        plan: how this network was cut from its teacher (None for a teacher).
    """

    def __init__(
        self, pipeline: Any, component: str, calibration: Calibration | NotRun, *, plan: StudentPlan | None = None
    ):
        self.pipeline, self.component, self.plan = pipeline, component, plan
        self._calibration = calibration
        self.resized: Teacher | None = None  # itself, recorded at the size that it last sampled at
        if isinstance(calibration, Calibration):
            self._encoder = Encoder(calibration)

    @property
    def calibration(self) -> Calibration:
        """How the denoiser is called.

        Raises:
            UserError: the pipeline needs arguments that no call has brought yet; the message says so.
        """
        if isinstance(self._calibration, NotRun):
            raise self._calibration
        return self._calibration

    @cached_property
    def noise_path(self) -> NoisePath:
        """The forward process, over the times at which this denoiser is called."""
        own = self.calibration.observed
        return own.path if own else between(noise_path(self.scheduler), self.calibration.time_range)

    @cached_property
    def answer_sign(self) -> float | None:
        """What the pipeline multiplies the network's output by for its scheduler: 1 or -1; None if it is neither."""
        return answer_sign(self.calibration)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: Any,
        component: str | None = None,
        *,
        call: Mapping[str, Any] | None = None,
        keys: Sequence[Key] | None = None,
    ) -> Teacher:
        """The pipeline object as a teacher; it is calibrated by a few short runs.

        Args:
            pipeline: any DiffusionPipeline.
            component: the denoiser's name where there are several.
            call: the pipeline's own arguments that every call needs or that change the condition (size, images). Where
                pictures are needed and not given, examples stand in for them until a call brings some.
            keys: two or more different keys to calibrate with, where prompts or pictures of our own would not do.

        Raises:
            UserError: no denoiser, an unconditional pipeline, or a finding that could not be verified.
        """
        unknown, pipeline = unknown_noise(pipeline), uncompiled(pipeline)
        component = denoiser_name(pipeline, component)
        examples = examples_among(keys) if keys else None
        if keys and not examples:
            raise UserError("keys= to calibrate with got no two different ones; give at least two")
        check_call(pipeline, call)
        try:
            wanted = recording_call(call)
            found: Calibration | NotRun = calibrate(pipeline, component, wanted, keys=examples, small_first=True)
        except UserError as error:
            if unknown is not None:
                raise (error if str(error) == str(unknown) else UserError(f"{unknown}; or else: {error}")) from None
            if call or keys or not isinstance(error, NotRun):
                raise
            found = error  # the first call that brings what it needs calibrates it
        return cls(pipeline, component, found)

    @classmethod
    @panics_said("a pipeline whose tokenizer or weights do not work")
    def load(
        cls,
        name: str | Path,
        component: str | None = None,
        *,
        call: Mapping[str, Any] | None = None,
        keys: Sequence[Key] | None = None,
        **kwargs: Any,
    ) -> Teacher:
        """The teacher in a pipeline folder, an embedded world ("emoji") or, by name, on the hub.

        Args:
            name: of one of them; component, call, keys as in `from_pipeline`.
            kwargs: passed to `DiffusionPipeline.from_pretrained`; `device` moves it afterwards. Only safetensors are
                read unless `use_safetensors=False` is given.

        Raises:
            UserError: no such folder, no pipeline in it, pickled weights, a tokenizer that does not work.
        """
        from condistill.teacher.loading import load_pipeline

        return cls.from_pipeline(load_pipeline(name, **kwargs), component, call=call, keys=keys)

    @property
    def network(self) -> nn.Module:
        """The denoiser."""
        return getattr(self.pipeline, self.component)

    @property
    def scheduler(self) -> Any:
        """The scheduler that steps x_t; its config defines the forward process."""
        return getattr(self.pipeline, self.calibration.scheduler)

    @property
    def null_key(self) -> Key | None:
        """The key of the null condition; None where the model has none."""
        return self.calibration.null_key

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one x0 in the denoiser's space."""
        return self.calibration.latent_shape

    @property
    def device(self) -> torch.device:
        """The denoiser's device."""
        return next(self.network.parameters()).device

    def with_network(
        self, network: nn.Module, *, plan: StudentPlan | None = None, upstream: Mapping[str, nn.Module] | None = None
    ) -> Teacher:
        """The same pipeline with another denoiser, and other networks `upstream` of it where their names are given.

        Everything else is shared, the scheduler's state is not.
        """
        pipeline = exchanged(self.pipeline, {self.component: network, **(upstream or {})})
        found = self._calibration
        if isinstance(found, Calibration):
            found = replace(found, runner=replace(found.runner, pipeline=pipeline))
        return Teacher(pipeline, self.component, found, plan=plan)

    @property
    def is_calibrated(self) -> bool:
        """Whether the pipeline was recorded; one that needs arguments waits for the first call that brings them."""
        return isinstance(self._calibration, Calibration)

    def with_call(self, call: Mapping[str, Any] | None, keys: Sequence[Key] = ()) -> Teacher:
        """The same teacher recorded with these pipeline arguments and keys of this kind; itself if they change nothing.

        Args:
            call: the pipeline's own arguments (size, images).
            keys: those that will be encoded; recorded with where they say other arguments than the example keys did.
        """
        check_call(self.pipeline, call)
        again = recalibrated(self._calibration, self.pipeline, self.component, recording_call(call), keys)
        return self if again is None else Teacher(self.pipeline, self.component, again, plan=self.plan)

    def student(
        self,
        spec: str | Mapping[str, Any] | StudentPlan = "b-base",
        *,
        init: str = "inherit",
        seed: int = 0,
        cache: Any = None,
    ) -> Teacher:
        """A smaller network of the same kind in the same pipeline.

        Args:
            spec: a preset ("b-base"), a rule ("depth=0.5", "width=0.75", "keep=...") or a finished StudentPlan.
            init: "inherit" the teacher's tensors, "slice" them, or "random".
            seed: of fresh tensors.
            cache: this teacher's D, on which `blocks=scored` measures which blocks it misses least.

        Raises:
            UserError: unknown preset, or a spec that cuts nothing, everything, or breaks a width.
        """
        from condistill.students.making import student_of

        return student_of(self, spec, init=init, seed=seed, cache=cache)

    def example(self) -> dict[str, Any]:
        """The denoiser's keyword arguments for one item, as calibrated: noise at half time, the first example key."""
        half, drawn = self.noise_path.times(torch.tensor([0.5])), torch.Generator().manual_seed(0)
        x_t = torch.randn(1, *self.latent_shape, generator=drawn).to(self.device)
        return self.arguments(x_t, half.to(self.device), self.encode([self.calibration.keys[0]]))

    def encode(self, keys: Sequence[Key], bound: Mapping[str, Tensor] | None = None) -> Condition:
        """The conditions of b keys, on the denoiser's device. One pass of the text encoder per key not yet remembered.

        Args:
            keys: b keys.
            bound: path -> (b, ...): what belongs to each x0 and is never swapped; the calibration's row if not given.
        """
        keys, found = [keys] if isinstance(keys, str | int | Mapping) else list(keys), self.calibration
        whole = {path: row.expand(len(keys), *row.shape) for path, row in found.bound.items()}
        rows = stacked_rows(self._encoder.rows(keys), found)
        return Condition(rows, {**whole, **(bound or {})}, found.alike, found.equal).to(self.device)

    def arguments(
        self, x_t: Tensor, t: Tensor, condition: Condition, *, dtype: torch.dtype | None = None
    ) -> dict[str, Any]:
        """The denoiser's keyword arguments for x_t (b, *latent) at the scheduler's times t (b,), in `dtype`."""
        dtype = dtype or precision_of(self.network)
        return call_arguments(self.calibration, self.pipeline, x_t, t, condition, dtype=dtype)

    def prediction(self, output: Any) -> Tensor:
        """The part of the denoiser's answer that is about x_t: without the tokens of a picture given beside it."""
        return prediction(self.calibration, output)

    def predict(
        self, x_t: Float[Tensor, "b *latent"], t: Shaped[Tensor, "..."] | float, condition: Condition
    ) -> Float[Tensor, "b *out"]:
        """The network's output (epsilon, v or velocity, as it was trained), one conditional pass without guidance.

        Args:
            x_t: (b, *latent), noised by `noise_path`.
            t: (b,) times of the scheduler, or one for all.
            condition: from `encode`, of b keys; another number is a UserError.
        """
        t, rows = times_of(x_t, t, condition), condition.groups()
        answers = [answered(self.network, self.arguments(x_t[k], t[k], condition.rows(k))) for k in rows]
        return in_order([self.prediction(one) for one in answers], rows)

    def sample(
        self,
        keys: Sequence[Key],
        *,
        seed: int | Sequence[int] = 0,
        call: Mapping[str, Any] | None = None,
        output: Literal["latent", "np", "both"] = "both",
        batch: int = 32,
    ) -> Samples:
        """Samples of the pipeline itself, one generator per item.

        Args:
            keys: n keys.
            seed: one seed, from which item k draws by (seed, k), or n seeds, one per item.
            call: the pipeline's own arguments (steps, guidance_scale, size).
            output: "latent" skips decoding.
            batch: items per run of the pipeline.

        Raises:
            UserError: no keys, another number of seeds, or a call that the pipeline does not take.
        """
        keys = [keys] if isinstance(keys, str | int | Mapping) else list(keys)
        seeds = [(seed, k) for k in range(len(keys))] if isinstance(seed, int) else [(int(s), 0) for s in seed]
        check_sample(self.pipeline, call, keys, len(seeds), output)
        if isinstance(self._calibration, NotRun) or self._calibration.is_small:
            return self.with_call(call, keys).sample(keys, seed=seed, call=call, output=output, batch=batch)
        return sampled(self, keys, seeds, call=call or {}, output=output, batch=batch)

    def save(self, folder: str | Path) -> Path:
        """The pipeline folder, written as safetensors; `DiffusionPipeline.from_pretrained` reads it."""
        save_pipeline(self.pipeline, folder)
        return Path(folder)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over names, shapes and values (as float16) of all networks but the VAE, and the scheduler."""
        return pipeline_hash(self.pipeline)
