"""What a pipeline may be called with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from condistill.cache.values import is_plain
from condistill.errors import UserError, nearest, unknown_name
from condistill.maths.noise_path import noise_path
from condistill.maths.randomise import Key
from condistill.teacher.keys import key_arguments, parameters_of
from condistill.teacher.running import samplers

OUTPUTS = ("latent", "np", "both")
_OURS = ("generator", "seed")  # every item draws by its own seed


def unknown_noise(pipeline: Any) -> UserError | None:
    """What to say of the first scheduler if the noise process of none is known by itself; None if one's is.

    Raises:
        UserError: there is no scheduler.
    """
    if hasattr(pipeline, "update_components"):
        raise UserError(
            f"{type(pipeline).__name__} is modular, and its call does not say what it takes and makes; give the plain "
            "pipeline of its parts where there is one, as in StableDiffusionXLPipeline(**parts)"
        )
    if not hasattr(pipeline, "config"):
        raise UserError(
            f"got {type(pipeline).__name__} where a diffusers pipeline was wanted; Teacher.load reads a folder"
        )
    found = samplers(pipeline)
    if not found:
        raise UserError(f"{type(pipeline).__name__} has no scheduler, so no denoising loop; it is no diffusion teacher")
    errors = []
    for one in found.values():
        try:
            noise_path(one)
        except UserError as error:
            errors.append(error)
    return errors[0] if len(errors) == len(found) else None


def check_call(pipeline: Any, call: Mapping[str, Any] | None) -> None:
    """Refuse arguments that the pipeline does not take, also where it would swallow them, or that are ours to give.

    Raises:
        UserError: which one, and the nearest that it takes; more samples of a key; random numbers of the call's own.
    """
    if not call:
        return
    parameters, name = parameters_of(pipeline), type(pipeline).__name__
    is_open = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    known = [one for one, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    for one in call:
        if one not in known and not (is_open and nearest(one, known) is None):
            raise unknown_name(f"argument of {name}", one, known)
    for one, value in call.items():
        if one.endswith("_per_prompt") and value not in (None, 1):
            raise UserError(f"{one}={value!r} makes several samples of one key; leave it out and give the key as often")
    drawn = next((one for one in _OURS if call.get(one) is not None and "generator" in parameters), None)
    if drawn:
        raise UserError(f"got {drawn}={_said(call[drawn])} in the call, but every item has its own; give seed= instead")


def _said(value: Any) -> str:
    return repr(value) if is_plain(value) else type(value).__name__


def check_sample(
    pipeline: Any, call: Mapping[str, Any] | None, keys: Sequence[Key], num_seeds: int, output: str
) -> None:
    """Refuse what `Teacher.sample` cannot draw.

    Raises:
        UserError: no keys, another number of seeds, an unknown output, or a call that the pipeline does not take or
            that the keys say as well.
    """
    if not keys:
        raise UserError("sample got no keys; give one or more")
    if num_seeds != len(keys):
        raise UserError(f"sample got {len(keys)} keys but {num_seeds} seeds; give one seed or one per key")
    if output not in OUTPUTS:
        raise unknown_name("output", output, OUTPUTS)
    check_call(pipeline, call)
    said = set(key_arguments(pipeline, keys[:1])) & set(call or {})
    if said:
        raise UserError(f"call says {sorted(said)[0]!r}, which the keys say as well; give it in one of the two")
