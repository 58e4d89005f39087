"""Calling: from x_t, times and conditions to the denoiser's own arguments, and from its answer to the prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError, brief
from condistill.memory import is_out_of_memory
from condistill.teacher.calibration import Calibration
from condistill.teacher.condition import Condition
from condistill.teacher.leaves import Leaves, flatten, rebuild
from condistill.teacher.running import networks
from condistill.teacher.taps import first_tensor


def precision_of(network: torch.nn.Module) -> torch.dtype:
    """What the network computes in: its weights' precision, or where hooks cast them for the moment, its own word.

    diffusers loads some weights of some networks in float32 whatever is asked for (Wan's embedding of time): then it is
    that of the others.
    """
    stored = list(dict.fromkeys(weight.dtype for weight in network.parameters()))
    hooks = (getattr(part, "_diffusers_hook", None) for part in network.modules())
    is_cast = any(hook is not None and hook.get_hook("layerwise_casting") is not None for hook in hooks)
    if is_cast or any(one.itemsize == 1 for one in stored):
        return getattr(network, "dtype", stored[0])
    return next((one for one in stored if one in (torch.float16, torch.bfloat16)), stored[0])


def call_arguments(
    found: Calibration, pipeline: Any, x_t: Tensor, t: Tensor, condition: Condition, *, dtype: torch.dtype
) -> dict[str, Any]:
    """The denoiser's keyword arguments for x_t (b, *latent) at the scheduler's times t (b,), floats in `dtype`.

    Networks upstream of it (a ControlNet) run here, without gradient.
    """
    leaves: Leaves = {p: v.to(x_t.device) if isinstance(v, Tensor) else v for p, v in found.constants.items()}
    for path, value in found.repeated.items():
        leaves[path] = found.bound_paths[path].joined([value] * len(x_t))
    for path, value in condition.bound.items():
        leaves[path] = found.bound_paths[path].joined(value)
    for path, value in condition.leaves.items():
        leaves[path] = found.key_paths[path].joined(value)
    for path, noisy in found.noisy.items():
        extra = leaves.pop(f"{path}+", None)
        filled = noisy.filled(x_t, None if extra is None else extra.to(x_t))
        leaves[path] = list(filled) if noisy.is_list else filled
    for path, time in found.times.items():
        leaves[path] = time(t.repeat_interleave(found.rows_per_item(path)))
    for name in dict.fromkeys(name for name, _ in found.links.values()):
        leaves |= _answers(found, name, networks(pipeline)[name], leaves)
    return rebuild(found.templates[""], _cast(leaves, dtype, found.times), lists=found.lists)


def _answers(found: Calibration, name: str, module: torch.nn.Module, leaves: Leaves) -> Leaves:
    """The denoiser's arguments that the upstream network `name` computes."""
    dtype = precision_of(module)
    own = {path: value for path, value in leaves.items() if path.startswith(f"{name}:")}
    arguments = rebuild(found.templates[name], _cast(own, dtype, found.times), f"{name}:", found.lists)
    with torch.no_grad():
        out = flatten({"out": module(**arguments)})
    return {path: out[place] for path, (source, place) in found.links.items() if source == name}


def _cast(leaves: Leaves, dtype: torch.dtype, times: Mapping[str, Any]) -> Leaves:
    def cast(value: Any) -> Any:
        if isinstance(value, list):
            return [cast(one) for one in value]
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    return {path: value if path in times else cast(value) for path, value in leaves.items()}


def times_of(x_t: Tensor, t: Any, condition: Condition) -> Tensor:
    """Times (b,) for the b samples of `x_t`: one each, or one for all.

    Raises:
        UserError: another number of times or conditions than of samples.
    """
    times = torch.as_tensor(t).reshape(-1)
    times = times.expand(len(x_t)) if len(times) == 1 else times
    if len(times) != len(x_t) or len(condition) not in (0, len(x_t)):
        raise UserError(
            f"predict got {len(x_t)} samples x_t, {len(times)} times t and {len(condition)} conditions; give as "
            "many of each (one time may be for all)"
        )
    return times


def answered(network: torch.nn.Module, arguments: Mapping[str, Any]) -> Any:
    """The network's answer.

    Raises:
        UserError: it does not run on arguments of this size: a recording needs none of its answers.
    """
    try:
        return network(**arguments)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        raise UserError(
            f"{type(network).__name__} does not run at this size ({brief(error)}); give x_t as (b, *latent_shape), and "
            "where that does not help, say the pipeline's own size: Teacher.from_pipeline(pipe, call=...)"
        ) from error


def prediction(found: Calibration, output: Any) -> Tensor:
    """The part of the denoiser's answer that is about x_t, (b, ...); 0 where something is given in x_t's place."""
    if found.beside is None:
        return scored(found, next(iter(found.noisy.values())).cropped(first_tensor(output)))
    parts = {one.part: one for one in reversed(list(found.noisy.values()))}
    ordered = [parts[part] for part in sorted(part for part in parts if part is not None)]
    whole = [one.cropped(first_tensor(output[k])).flatten(1) for k, one in enumerate(ordered)]
    return scored(found, torch.cat(whole, dim=1))


def scored(found: Calibration, answer: Tensor) -> Tensor:
    """An answer (b, *latent), or what it should be, with 0 where something is given in x_t's place."""
    held = found.held
    if held is None or answer.shape[1:] != held.shape:
        return answer
    return answer.masked_fill(held.to(answer.device), 0.0)


def stacked_rows(rows: Sequence[Mapping[str, Any]], found: Calibration) -> dict[str, Any]:
    """Path -> rows of b keys: stacked, padded at the end where ragged, or a list where the denoiser takes one.

    Where ragged ones cannot be padded they are a list as well; see `Condition.groups`.
    """
    leaves: dict[str, Any] = {}
    for path in rows[0] if rows else {}:
        values = [row[path] for row in rows]
        is_list = found.key_paths[path].is_list and isinstance(values[0], Tensor) and values[0].ndim
        if is_list or path in found.alike:
            leaves[path] = values
        else:
            leaves[path] = torch.stack(padded(values) if path in found.ragged else values)
    return leaves


def padded(values: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, each padded with zeros at the end of every axis to the largest."""
    shape = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
    found = []
    for value in values:
        whole = value.new_zeros(shape)
        whole[tuple(slice(0, size) for size in value.shape)] = value
        found.append(whole)
    return found
