"""Calibration: what a pipeline's denoiser takes, established by watching it and then verified.

Five short runs, all but one network pass of them answered with zeros:

1. keys (a, b), three steps: which argument is x_t, which is the time and by which affine map, what changes per step.
2. keys (a, c): a row that changed belongs to the key; only rows of the second item may have changed.
3. key (a) alone, and both without guidance: what is per item, and that one item is encoded as in a batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.maths.draws import generator
from condistill.maths.randomise import Key
from condistill.teacher.findings import find_time, find_x, key_paths, refuse_per_step, same, sorted_rest, tensors
from condistill.teacher.recording import FirstCallRecorded, Leaves, Mode, Recording, watched

PROMPTS = ("a red fox", "two ships at sea", "a stone bridge in the snow")


@dataclass(frozen=True)
class Calibration:
    """How to call the denoiser.

    Attributes:
        call: the pipeline's arguments for recording conditions.
        template: nested arguments of one recorded call; its tensors are placeholders.
        x_path: the argument that takes x_t.
        time_path: the argument that takes the time; network time = time_scale * t + time_offset.
        key_paths: arguments that belong to the key -> which of the call's row blocks is the conditional one.
        bound: arguments with a row per item that do not belong to the key -> one row.
        constants: everything else.
        extra_channels: x_t's argument has more channels than x0; they are the bound leaf `x_path + "+"`.
        blocks: rows per item in a recorded call (2 where guidance doubles the batch).
        null_key: the key of the null condition, None where the model has none.
        null_rows: the null condition's rows where encoding `null_key` would give others (SDXL zeroes them).
        latent_shape: shape of one x0 in the denoiser's space.
    """

    call: Mapping[str, Any]
    template: Mapping[str, Any]
    x_path: str
    time_path: str
    time_scale: float
    time_offset: float
    key_paths: Mapping[str, int]
    bound: Mapping[str, Tensor]
    constants: Leaves
    extra_channels: int
    blocks: int
    null_key: Key | None
    latent_shape: tuple[int, ...]
    null_rows: Mapping[str, Tensor] = field(default_factory=dict)


def key_arguments(pipeline: Any, keys: Sequence[Key]) -> dict[str, list[Any]]:
    """The pipeline's own arguments that say `keys`.

    Raises:
        UserError: the pipeline takes no such argument, or the keys are of different kinds.
    """
    parameters = inspect.signature(type(pipeline).__call__).parameters
    if all(isinstance(key, Mapping) for key in keys):
        names = list(keys[0])  # type: ignore[arg-type]
        unknown = [name for name in names if name not in parameters]
        if unknown:
            raise UserError(
                f"{type(pipeline).__name__} takes no argument {unknown[0]!r}; it takes: {', '.join(parameters)}"
            )
        return {name: [key[name] for key in keys] for name in names}  # type: ignore[index]
    if all(isinstance(key, str) for key in keys):
        argument = "prompt"
    elif all(isinstance(key, int) for key in keys):
        argument = "class_labels"
    else:
        kinds = sorted({type(key).__name__ for key in keys})
        raise UserError(f"keys must all be strings, all integers or all mappings, got {', '.join(kinds)}")
    if argument not in parameters:
        raise UserError(
            f"{type(pipeline).__name__} takes no argument {argument!r}; give keys as mappings of the arguments "
            f"that may be exchanged, out of: {', '.join(parameters)}"
        )
    return {argument: list(keys)}


def run(
    pipeline: Any,
    network: torch.nn.Module,
    keys: Sequence[Key],
    *,
    call: Mapping[str, Any],
    mode: Mode,
    generators: list[torch.Generator] | None = None,
) -> tuple[Recording, list[dict[str, Any]]]:
    """The recording of one run of the pipeline on `keys`, and the denoiser calls' nested arguments.

    Args:
        call: the pipeline's own further arguments.
        mode: see `recording.watched`.
        generators: one per key; drawn from a fixed seed if not given. Global random state is not touched.
    """
    arguments: dict[str, Any] = {**call, **key_arguments(pipeline, keys)}
    parameters = inspect.signature(type(pipeline).__call__).parameters
    if "generator" in parameters:
        arguments["generator"] = generators or [generator(0, "calibrate", k) for k in range(len(keys))]
    if "output_type" in parameters:
        arguments.setdefault("output_type", "latent")
    bar = getattr(pipeline, "_progress_bar_config", None)
    pipeline.set_progress_bar_config(disable=True)
    try:
        watching = watched(network, pipeline.scheduler, mode)
        with torch.no_grad(), watching as (recording, nested), suppress(FirstCallRecorded):
            recording.result = pipeline(**arguments)
    finally:
        if bar is None:
            del pipeline._progress_bar_config
        else:
            pipeline._progress_bar_config = bar
    return recording, nested


def calibrate(pipeline: Any, network: torch.nn.Module, call: Mapping[str, Any]) -> Calibration:
    """The verified way to call `network` inside `pipeline`.

    Raises:
        UserError: something could not be established; the message says what and what to pass.
    """
    first, second, _ = example_keys(pipeline)
    steps = _steps(pipeline)
    name = type(network).__name__
    whole, _ = run(pipeline, network, [first, second], call={**call, **steps(3)}, mode="zeros")
    if not whole.calls or not whole.samples:
        raise UserError(f"{type(pipeline).__name__} did not call {name} in its sampling loop; choose with component=")
    sample = whole.samples[0]
    blocks, x_path, extra = find_x(whole, name)
    time_path, scale, offset = find_time(whole, name)
    refuse_per_step(whole, {x_path, time_path}, name)

    found = Calibration(
        call={**call, **steps(1)},
        template={},
        x_path=x_path,
        time_path=time_path,
        time_scale=scale,
        time_offset=offset,
        key_paths={},
        bound={},
        constants={},
        extra_channels=extra,
        blocks=blocks,
        null_key=None,
        latent_shape=tuple(sample.shape[1:]),
    )
    return _with_condition(found, pipeline, network)


def _with_condition(found: Calibration, pipeline: Any, network: torch.nn.Module) -> Calibration:
    """Runs 2 and 3: what belongs to the key, what is bound, what is constant; guidance off if that changes nothing."""
    first, second, third = example_keys(pipeline)
    name, ignored = type(network).__name__, {found.x_path, found.time_path}
    pair = _first(pipeline, network, [first, second], found.call)
    swapped = _first(pipeline, network, [first, third], found.call)
    paths = key_paths(pair[0], swapped[0], ignored, found.blocks, name)
    null = _null(pipeline, pair[0], paths, found.blocks)
    if found.blocks > 1:
        unguided = _without_guidance(pipeline, network, [first, second], found.call, pair[0], paths, ignored)
        if unguided is not None:
            call, pair = unguided
            paths, found = dict.fromkeys(paths, 0), replace(found, call=call, blocks=1)
    alone = _first(pipeline, network, [first], found.call)
    bound, constants = sorted_rest(pair[0], alone[0], ignored | set(paths), found.blocks)
    if found.extra_channels:
        bound[f"{found.x_path}+"] = pair[0][found.x_path][0, -found.extra_channels :].detach().clone()
    found = replace(found, template=pair[1], key_paths=paths, bound=bound, constants=constants, null_key=null[0])
    _verify_single(found, pair[0], alone[0], name)
    return _with_null_rows(found, pipeline, network, null)


def example_keys(pipeline: Any) -> tuple[Key, Key, Key]:
    """Three different keys of the kind that the pipeline takes.

    Raises:
        UserError: it takes neither prompts nor class labels.
    """
    parameters = inspect.signature(type(pipeline).__call__).parameters
    if "prompt" in parameters:
        return PROMPTS
    if "class_labels" in parameters:
        return (1, 2, 3)
    raise UserError(
        f"{type(pipeline).__name__} takes neither 'prompt' nor 'class_labels', so there is nothing to swap; "
        "random conditioning needs a conditional pipeline"
    )


def _steps(pipeline: Any) -> Any:
    parameters = inspect.signature(type(pipeline).__call__).parameters
    return lambda num: {"num_inference_steps": num} if "num_inference_steps" in parameters else {}


def _first(pipeline: Any, network: Any, keys: Sequence[Key], call: Mapping[str, Any]) -> tuple[Leaves, dict[str, Any]]:
    recording, nested = run(pipeline, network, keys, call=call, mode="stop")
    return recording.calls[0], nested[0]


def _null(pipeline: Any, guided: Leaves, paths: Mapping[str, int], blocks: int) -> tuple[Key | None, dict[str, Tensor]]:
    """The null key, and the rows that guidance uses for it."""
    if blocks == 1:
        return ("" if isinstance(example_keys(pipeline)[0], str) else None), {}
    rows = {p: guided[p][2 * ((block + 1) % blocks)].detach().clone() for p, block in paths.items()}
    if isinstance(example_keys(pipeline)[0], str):
        return "", rows
    label = next(iter(rows.values()))
    return (int(label) if label.numel() == 1 else None), {}


def _without_guidance(
    pipeline: Any,
    network: Any,
    keys: Sequence[Key],
    call: Mapping[str, Any],
    guided: Leaves,
    paths: Mapping[str, int],
    ignored: set[str],
) -> tuple[dict[str, Any], tuple[Leaves, dict[str, Any]]] | None:
    """The call with guidance off, if the pipeline then makes one block with the very same conditional rows."""
    if "guidance_scale" not in inspect.signature(type(pipeline).__call__).parameters:
        return None
    single = {**call, "guidance_scale": 1.0}
    leaves, nested = _first(pipeline, network, keys, single)
    for path, value in tensors(guided).items():
        other = leaves.get(path)
        if path in ignored:
            continue
        if not isinstance(other, Tensor):
            return None
        block = paths.get(path, 0)
        rows = value[2 * block : 2 * block + 2] if value.shape[0] == 2 * other.shape[0] else value
        if not same(rows, other):
            return None
    return single, (leaves, nested)


def _verify_single(found: Calibration, pair: Leaves, alone: Leaves, name: str) -> None:
    for path, block in found.key_paths.items():
        if not same(pair[path][2 * block], alone[path][block]):
            raise UserError(f"argument {path!r} of {name} differs between one key and a batch; not supported")


def _with_null_rows(found: Calibration, pipeline: Any, network: Any, null: tuple[Key | None, dict]) -> Calibration:
    key, rows = null
    if key is None or not rows:
        return found
    leaves, _ = _first(pipeline, network, [key], found.call)
    is_same = all(same(leaves[path][found.key_paths[path]], row) for path, row in rows.items())
    return found if is_same else replace(found, null_rows=rows)
