"""Teacher: a pipeline as a denoiser. The student is of the same type: what samples or scores one does it to the other.

>>> teacher = Teacher.load("emoji")                                             # doctest: +SKIP
>>> condition = teacher.encode(["a panda on a green background"])               # doctest: +SKIP
>>> teacher.predict(torch.randn(1, *teacher.latent_shape), torch.tensor([500]), condition)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from condistill.errors import UserError
from condistill.maths.noise_path import NoisePath, between, noise_path
from condistill.maths.randomise import Key
from condistill.teacher.calibrate import calibrate
from condistill.teacher.calibration import Calibration
from condistill.teacher.calling import call_arguments, prediction, stacked_rows
from condistill.teacher.condition import Condition
from condistill.teacher.encoding import Encoder
from condistill.teacher.identity import denoiser_name, pipeline_hash
from condistill.teacher.running import check_samplers, exchanged
from condistill.teacher.sampling import Samples, joined, sample_once

if TYPE_CHECKING:
    from condistill.students import StudentPlan

CALL_OF_SAMPLING = ("num_inference_steps", "output_type", "generator", "latents")


class Teacher:
    """A conditional diffusion pipeline seen as a denoiser.

    Attributes:
        pipeline: the diffusers pipeline; sampling is always its own.
        component: the name of the denoiser in it.
        noise_path: its forward process.
        calibration: how its denoiser is called, established by recording.
        plan: how this network was cut from its teacher (None for a teacher).
    """

    def __init__(self, pipeline: Any, component: str, calibration: Calibration, *, plan: StudentPlan | None = None):
        self.pipeline, self.component, self.calibration, self.plan = pipeline, component, calibration, plan
        self.noise_path: NoisePath = between(noise_path(self.scheduler), calibration.time_range)
        self._encoder = Encoder(calibration)
        self._hash: str | None = None

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
            keys: three different keys to calibrate with, where prompts, labels or pictures of our own would not do.

        Raises:
            UserError: no denoiser, an unconditional pipeline, or a finding that could not be verified.
        """
        component = denoiser_name(pipeline, component)
        getattr(pipeline, component).eval()
        check_samplers(pipeline)
        return cls(pipeline, component, calibrate(pipeline, component, _recording_call(call), keys=keys))

    @classmethod
    def load(cls, name: str | Path, component: str | None = None, **kwargs: Any) -> Teacher:
        """The teacher in a pipeline folder, an embedded world ("emoji") or, by name, on the hub.

        Args:
            name: folder, embedded name or hub id.
            component: the denoiser's name where there are several.
            kwargs: passed to `DiffusionPipeline.from_pretrained`; `device` moves it afterwards. Only safetensors are
                read unless `use_safetensors=False` is given.

        Raises:
            UserError: no such folder, no pipeline in it, pickled weights.
        """
        from condistill.teacher.loading import load_pipeline

        return cls.from_pipeline(load_pipeline(name, **kwargs), component)

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

    def with_network(self, network: nn.Module, *, plan: StudentPlan | None = None) -> Teacher:
        """The same pipeline with another denoiser; everything else is shared, the scheduler's state is not."""
        pipeline = exchanged(self.pipeline, self.component, network)
        found = self.calibration
        own = replace(found, runner=replace(found.runner, pipeline=pipeline))
        return Teacher(pipeline, self.component, own, plan=plan)

    def with_call(self, call: Mapping[str, Any] | None) -> Teacher:
        """The same teacher recorded with these pipeline arguments (size, images); itself if they change nothing."""
        wanted, known = _recording_call(call), self.calibration.call
        changed = [name for name, value in wanted.items() if name != "guidance_scale" and not alike(known, name, value)]
        if not changed:
            return self
        found = calibrate(self.pipeline, self.component, wanted)
        return Teacher(self.pipeline, self.component, found, plan=self.plan)

    def student(
        self, spec: str | Mapping[str, Any] | StudentPlan = "b-base", *, init: str = "inherit", seed: int = 0
    ) -> Teacher:
        """A smaller network of the same kind in the same pipeline.

        Args:
            spec: a preset ("b-base"), a rule ("depth=0.5", "width=0.75", "keep=...") or a finished StudentPlan.
            init: "inherit" the teacher's tensors, "slice" them, or "random".
            seed: of fresh tensors.

        Raises:
            UserError: unknown preset, or a spec that cuts nothing, everything, or breaks a width.
        """
        from condistill.students import StudentPlan, build, make_plan

        network = self.network
        plan = spec if isinstance(spec, StudentPlan) else make_plan(network.config, type(network), spec, init=init)  # type: ignore[arg-type]
        return self.with_network(build(plan, network, seed=seed), plan=plan)

    def encode(self, keys: Sequence[Key], bound: Mapping[str, Tensor] | None = None) -> Condition:
        """The conditions of b keys, on the denoiser's device. One pass of the text encoder per key not yet remembered.

        Args:
            keys: b keys.
            bound: path -> (b, ...): what belongs to each x0 and is never swapped; the calibration's row if not given.
        """
        keys = [keys] if isinstance(keys, str | int | Mapping) else list(keys)
        found, rows = self.calibration, self._encoder.rows(keys)
        whole = {path: row.expand(len(keys), *row.shape) for path, row in found.bound.items()}
        condition = Condition(stacked_rows(rows, found.ragged, found), {**whole, **(bound or {})})
        return condition.to(self.device)

    def arguments(
        self, x_t: Tensor, t: Tensor, condition: Condition, *, dtype: torch.dtype | None = None
    ) -> dict[str, Any]:
        """The denoiser's keyword arguments for x_t (b, *latent) at the scheduler's times t (b,), in `dtype`."""
        dtype = dtype or next(self.network.parameters()).dtype
        return call_arguments(self.calibration, self.pipeline, x_t, t, condition, dtype=dtype)

    def prediction(self, output: Any) -> Tensor:
        """The part of the denoiser's answer that is about x_t: without the tokens of a picture given beside it."""
        return prediction(self.calibration, output)

    def predict(
        self, x_t: Float[Tensor, "b *latent"], t: Shaped[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *out"]:
        """The network's output (epsilon, v or velocity, as it was trained), one conditional pass without guidance.

        Args:
            x_t: (b, *latent), noised by `noise_path`.
            t: (b,) times of the scheduler.
            condition: from `encode`.
        """
        return self.prediction(self.network(**self.arguments(x_t, t, condition)))

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
        """
        keys = [keys] if isinstance(keys, str | int | Mapping) else list(keys)
        seeds = [(seed, k) for k in range(len(keys))] if isinstance(seed, int) else [(int(s), 0) for s in seed]
        if len(seeds) != len(keys):
            raise UserError(f"sample got {len(keys)} keys but {len(seeds)} seeds; give one seed or one per key")
        parts = [
            sample_once(self, keys[k : k + batch], seeds[k : k + batch], call=call or {}, output=output)
            for k in range(0, len(keys), batch)
        ]
        return joined(parts)

    def save(self, folder: str | Path) -> Path:
        """The pipeline folder, written as safetensors; `DiffusionPipeline.from_pretrained` reads it."""
        self.pipeline.save_pretrained(str(folder), safe_serialization=True)
        return Path(folder)

    @property
    def hash(self) -> str:
        """SHA-256 over names, shapes and values (as float16) of all networks but the VAE, and the scheduler."""
        if self._hash is None:
            self._hash = pipeline_hash(self.pipeline)
        return self._hash


def alike(known: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether the call already says so; pictures and tensors only if they are the same object."""
    own = known.get(name, None)
    return own is value or (isinstance(value, str | int | float | tuple | None) and own == value)


def _recording_call(call: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (call or {}).items() if name not in CALL_OF_SAMPLING}
