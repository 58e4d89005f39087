"""Sampling: the pipeline itself, one generator per item, its scheduler watched for the last sample."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.maths.draws import generator
from condistill.maths.randomise import Key
from condistill.teacher.calibrate import Calibration, run

if TYPE_CHECKING:
    from condistill.teacher.teacher import Teacher


@dataclass(frozen=True)
class Samples:
    """What sampling gave for n keys.

    Attributes:
        latents: (n, *latent) float32, x0 in the denoiser's own space.
        images: (n, h, w, 3) float32 in [0, 1], or None if only latents were asked for.
        bound: bound arguments of the denoiser, path -> (n, ...), where they differ from the calibration's.
    """

    latents: Tensor
    images: np.ndarray | None = None
    bound: Mapping[str, Tensor] = field(default_factory=dict)


def joined(parts: Sequence[Samples]) -> Samples:
    """Several runs' samples as one."""
    images = None if parts[0].images is None else np.concatenate([p.images for p in parts])  # type: ignore[misc]
    bound = {path: torch.cat([p.bound[path] for p in parts]) for path in parts[0].bound}
    return Samples(torch.cat([p.latents for p in parts]), images, bound)


def sample_once(
    teacher: Teacher, keys: Sequence[Key], seeds: Sequence[tuple[int, int]], *, call: dict[str, Any], output: str
) -> Samples:
    """The samples of one run of the pipeline.

    Args:
        seeds: (seed, number) of each key's generator.
        call: the pipeline's own arguments.
        output: "latent" skips decoding.

    Raises:
        UserError: the pipeline took no step.
    """
    pipeline = teacher.pipeline
    generators = [generator(seed, "sample", number) for seed, number in seeds]
    if "output_type" in inspect.signature(type(pipeline).__call__).parameters:
        call["output_type"] = "latent" if output == "latent" else "np"
    teacher.network.eval()
    recording, _ = run(pipeline, teacher.network, keys, call=call, mode="real", generators=generators)
    if recording.last is None:
        raise UserError(f"{type(pipeline).__name__} took no step; num_inference_steps must be at least 1")
    found = getattr(recording.result, "images", None) if output != "latent" else None
    images = None if found is None else np.asarray(found, dtype=np.float32)
    latents = recording.last[: len(keys)].detach().float().cpu()
    return Samples(latents, images, _unusual(teacher.calibration, recording.calls[0], len(keys)))


def _unusual(found: Calibration, leaves: Mapping[str, Any], n: int) -> dict[str, Tensor]:
    """Bound rows of a recorded call that differ from the calibration's: what must be kept with each x0."""
    rows = {}
    for path, usual in found.bound.items():
        value = leaves[found.x_path][:n, -found.extra_channels :] if path.endswith("+") else leaves[path][:n]
        if not torch.equal(value, usual.to(value).expand_as(value)):
            rows[path] = value.detach().float().cpu()
    return rows
