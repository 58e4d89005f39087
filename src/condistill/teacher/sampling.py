"""Sampling: the pipeline itself, one generator per item, its scheduler watched for the last sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from condistill.cache.values import is_plain
from condistill.errors import UserError, brief
from condistill.maths.draws import generator
from condistill.maths.randomise import Key
from condistill.memory import is_out_of_memory
from condistill.pictures import Pictures, drawn
from condistill.teacher.calibration import Calibration, OtherSize
from condistill.teacher.keys import parameters_of, recording_call
from condistill.teacher.padding import with_extras
from condistill.teacher.recording import Recording
from condistill.teacher.steps import check_end

if TYPE_CHECKING:
    from condistill.teacher.teacher import Teacher


@dataclass(frozen=True)
class Samples:
    """What sampling gave for n keys.

    Attributes:
        latents: (n, *latent) float32, x0 in the denoiser's own space.
        images: (n, h, w, 3) float32 in [0, 1], frames (n, f, h, w, 3) or sound (n, ...); None if only latents were
            asked for.
        bound: bound arguments of the denoiser, path -> (n, ...), where they differ from the calibration's.
    """

    latents: Tensor
    images: np.ndarray | None = None
    bound: Mapping[str, Tensor] = field(default_factory=dict)


def joined(parts: Sequence[Samples]) -> Samples:
    """Several runs' samples as one.

    Raises:
        UserError: they have different sizes.
    """
    shapes = {tuple(part.latents.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise UserError(
            f"samples have different sizes ({', '.join(map(str, sorted(shapes)))}): give one size with the call, "
            "or pictures of one size"
        )
    images = None if parts[0].images is None else np.concatenate([p.images for p in parts])  # type: ignore[misc]
    bound = {path: torch.cat([p.bound[path] for p in parts]) for path in parts[0].bound}
    return Samples(torch.cat([p.latents for p in parts]), images, bound)


def sampled(
    teacher: Teacher,
    keys: Sequence[Key],
    seeds: Sequence[tuple[int, int]],
    *,
    call: Mapping[str, Any],
    output: str,
    batch: int,
) -> Samples:
    """The samples of all keys, batch by batch; at the size that the call asks for, whatever was recorded before."""
    if any(isinstance(value, Pictures) for value in call.values()):
        # one at a time: for some pipelines a list of pictures belongs to one sample
        each = [
            sampled(teacher, [key], [seed], call=drawn(call, *seed), output=output, batch=1)
            for key, seed in zip(keys, seeds, strict=True)
        ]
        return joined(each)
    again = teacher.resized
    if again is not None and all(again.calibration.says(n, value) for n, value in recording_call(call).items()):
        return sampled(again, keys, seeds, call=call, output=output, batch=batch)
    try:
        parts = [
            sample_once(teacher, keys[k : k + batch], seeds[k : k + batch], call=call, output=output)
            for k in range(0, len(keys), batch)
        ]
    except OtherSize:
        again = teacher.with_call(call, keys)
        if again is teacher:
            raise
        teacher.resized = again
        return sampled(again, keys, seeds, call=call, output=output, batch=batch)
    return joined(parts)


def sample_once(
    teacher: Teacher, keys: Sequence[Key], seeds: Sequence[tuple[int, int]], *, call: Mapping[str, Any], output: str
) -> Samples:
    """The samples of one run of the pipeline; of one run per key where it takes one at a time.

    Args:
        seeds: (seed, number) of each key's generator.
        call: the pipeline's own arguments.
        output: "latent" skips decoding.

    Raises:
        UserError: the pipeline took no step, left noise in what it samples, or does not take the call.
    """
    found = teacher.calibration
    if found.runner.single and len(keys) > 1:
        each = [sample_once(teacher, [k], [s], call=call, output=output) for k, s in zip(keys, seeds, strict=True)]
        return joined(each)
    pictures = {name: found.call[name] for name in found.placeholders if name not in call}
    given = {**pictures, **call}
    if "output_type" in parameters_of(teacher.pipeline):
        given["output_type"] = "latent" if output == "latent" else "np"
    runner = replace(found.runner, pipeline=teacher.pipeline, call=given, skip=0, blank=None)
    generators = [generator(seed, "sample", number) for seed, number in seeds]
    teacher.network.eval()
    try:
        recording = runner.run(keys, mode="real", generators=generators, leave=output == "latent")
    except UserError:
        raise
    except Exception as error:
        if "output_type" in str(error) and given.get("output_type") == "latent":
            return sample_once(teacher, keys, seeds, call=call, output="np")
        if isinstance(error, NotImplementedError) and _now_tiled(teacher.pipeline):
            return sample_once(teacher, keys, seeds, call=call, output=output)
        if len(keys) == 1 and is_out_of_memory(error):
            raise
        if len(keys) == 1:
            raise _refused(teacher.pipeline, call, error) from error
        # some pipelines take several keys, but not together with one picture
        each = [sample_once(teacher, [k], [s], call=call, output=output) for k, s in zip(keys, seeds, strict=True)]
        return joined(each)
    if output == "latent" and found.observed is None:
        check_end(recording, runner, teacher.noise_path)
    images = _decoded(recording.result) if output != "latent" else None
    latents = found.x0(recording, len(keys)).float().cpu()
    keeps_all = bool(found.placeholders) or not is_plain(given)
    return Samples(latents, images, _unusual(found, recording, len(keys), keeps_all))


def _now_tiled(pipeline: Any) -> bool:
    """Lets an autoencoder decode in tiles, as the only way that some can; False where that changes nothing."""
    vae = getattr(pipeline, "vae", None)
    if vae is None or not hasattr(vae, "enable_tiling") or getattr(vae, "use_tiling", True):
        return False
    vae.enable_tiling()
    return True


def _refused(pipeline: Any, call: Mapping[str, Any], error: Exception) -> UserError:
    said = ", ".join(f"{name}={value!r}" if is_plain(value) else name for name, value in call.items())
    reason = f"{type(error).__name__}: {brief(error)}"
    return UserError(f"{type(pipeline).__name__} could not sample with {said or 'its own settings'} ({reason})")


def _decoded(result: Any) -> np.ndarray | None:
    """What a pipeline's output object holds: pictures, frames or sound, (n, ...) float32; its first arrays else."""
    usual = ("images", "frames", "audios", "image_embeds", "image_embeddings")
    names = (*usual, *(vars(result) if hasattr(result, "__dict__") else ()))
    # a tuple where the call says return_dict=False
    for found in result[:1] if isinstance(result, tuple) else [getattr(result, name, None) for name in names]:
        if isinstance(found, Tensor | np.ndarray) or (isinstance(found, list | tuple) and len(found)):
            found = [one.detach().cpu().float() if isinstance(one, Tensor) else one for one in found]
            return np.stack([np.asarray(one, dtype=np.float32) for one in found])
    return None


def _unusual(found: Calibration, recording: Recording, n: int, keeps_all: bool) -> dict[str, Tensor]:
    """Bound rows of a recorded call that differ from the calibration's: what must be kept with each x0.

    All of them where pictures were given: another calibration may have been made with others.
    """
    if not recording.calls:
        return {}
    leaves, kept = with_extras(found, recording.leaves(0, found.lists)), {}
    for path, usual in found.bound.items():
        value, place = leaves.get(path), found.bound_paths[path]
        if not isinstance(value, Tensor) or value.shape[0] % (n * place.per_item):
            continue
        # guidance may be on here: the conditional block is where the calibration has it, or the only one
        blocks = value.shape[0] // (n * place.per_item)
        block = place.block if blocks == place.blocks else 0
        rows = torch.stack([place.item(value, k, n, block) for k in range(n)])
        if rows.shape[1:] != usual.shape:
            continue
        if keeps_all or not torch.equal(rows, usual.to(rows).expand_as(rows)):
            kept[path] = rows.detach().float().cpu() if rows.is_floating_point() else rows.detach().cpu()
    return kept
