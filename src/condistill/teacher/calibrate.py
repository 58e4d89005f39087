"""Calibration: what a pipeline's denoiser takes, established by watching it and then verified.

Five short runs, all but one network pass of them answered with zeros:

1. keys (a, b), three steps: which argument is x_t, which is the time and by which affine map, what changes per step.
2. keys (a, c): a row that changed belongs to the key; only rows of the second item may have changed.
3. key (a) alone, and both without guidance: what is per item, and that one item is encoded as in a batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.maths.draws import generator
from condistill.maths.randomise import Key
from condistill.teacher.recording import FirstCallRecorded, Leaves, Mode, Recording, watched

PROMPTS = ("a red fox", "two ships at sea", "a stone bridge in the snow")
# relative; recorded values went through half precision at most once between two runs of the same pipeline
TOLERANCE = 2e-3


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
            raise UserError(f"{type(pipeline).__name__} takes no argument {unknown[0]!r}; it takes: {', '.join(parameters)}")
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
        with torch.no_grad(), watched(network, pipeline.scheduler, mode) as (recording, nested):
            try:
                recording.result = pipeline(**arguments)
            except FirstCallRecorded:
                pass
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
    first, second, third = example_keys(pipeline)
    steps = _steps(pipeline)
    name = type(network).__name__
    whole, _ = run(pipeline, network, [first, second], call={**call, **steps(3)}, mode="zeros")
    if not whole.calls or not whole.samples:
        raise UserError(f"{type(pipeline).__name__} did not call {name} in its sampling loop; choose with component=")
    sample = whole.samples[0]
    blocks, x_path, extra = _find_x(whole, name)
    time_path, scale, offset = _find_time(whole, name)
    _refuse_per_step(whole, {x_path, time_path}, name)

    recording_call = {**call, **steps(1)}
    guided = _first(pipeline, network, [first, second], recording_call)
    swapped = _first(pipeline, network, [first, third], recording_call)
    alone = _first(pipeline, network, [first], recording_call)
    ignored = {x_path, time_path}
    key_paths = _key_paths(guided[0], swapped[0], ignored, blocks, name)
    null = _null(pipeline, guided[0], key_paths, blocks)
    if blocks > 1:
        unguided = _without_guidance(pipeline, network, [first, second], recording_call, guided[0], key_paths, ignored)
        if unguided is not None:
            recording_call, guided = unguided
            alone = _first(pipeline, network, [first], recording_call)
            key_paths, blocks = dict.fromkeys(key_paths, 0), 1
    bound, constants = _sorted_rest(guided[0], alone[0], ignored | set(key_paths), blocks)
    if extra:
        bound[f"{x_path}+"] = guided[0][x_path][0, sample.shape[1] :].detach().clone()
    found = Calibration(
        call=recording_call,
        template=guided[1],
        x_path=x_path,
        time_path=time_path,
        time_scale=scale,
        time_offset=offset,
        key_paths=key_paths,
        bound=bound,
        constants=constants,
        extra_channels=extra,
        blocks=blocks,
        null_key=null[0],
        latent_shape=tuple(sample.shape[1:]),
    )
    _verify_single(found, guided[0], alone[0], name)
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


def _tensors(leaves: Leaves) -> dict[str, Tensor]:
    return {path: value for path, value in leaves.items() if isinstance(value, Tensor)}


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    a, b = a.detach().double(), b.detach().double()
    return bool((a - b).abs().max() <= TOLERANCE * (a.abs().max() + 1e-12)) if a.numel() else True


def _find_x(whole: Recording, name: str) -> tuple[int, str, int]:
    """Blocks of rows, path of x_t, number of extra channels: the leaf that is the scheduler's sample times a factor."""
    # two items; DiT steps its scheduler with the doubled batch, so the sample itself may hold more rows
    n, sample = 2, whole.samples[0][:2].double()
    channels = sample.shape[1]
    for path, value in _tensors(whole.calls[0]).items():
        fits = value.ndim == sample.ndim and value.shape[0] % n == 0 and value.shape[2:] == sample.shape[2:]
        if not fits or not value.is_floating_point() or value.shape[1] < channels:
            continue
        rows = value[:, :channels].double().unflatten(0, (-1, n))
        factor = (rows[0] * sample).sum() / sample.square().sum()
        if all(_same(block, sample * factor) for block in rows) and factor.abs() > 1e-6:
            return len(rows), path, value.shape[1] - channels
    shapes = ", ".join(f"{path} {tuple(value.shape)}" for path, value in _tensors(whole.calls[0]).items())
    raise UserError(
        f"no argument of {name} is the scheduler's sample {tuple(sample.shape)}, scaled, doubled or with extra "
        f"channels; it got {shapes}: this pipeline is not supported yet"
    )


def _scalar(value: Any) -> float | None:
    if isinstance(value, Tensor):
        flat = value.detach().double().reshape(-1)
        return float(flat[0]) if flat.numel() and bool((flat == flat[0]).all()) and value.ndim <= 1 else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _find_time(whole: Recording, name: str) -> tuple[str, float, float]:
    """Path of the time and the affine map from the scheduler's time to it, fitted on two steps, checked on all."""
    per_step = max(1, len(whole.calls) // len(whole.times))
    calls, times = whole.calls[::per_step][: len(whole.times)], whole.times
    first, last = 0, len(calls) - 1
    for path in calls[0]:
        values = [_scalar(call.get(path)) for call in calls]
        if any(value is None for value in values) or values[first] == values[last] or times[first] == times[last]:
            continue
        slope = (values[last] - values[first]) / (times[last] - times[first])  # type: ignore[operator]
        shift = values[first] - slope * times[first]  # type: ignore[operator]
        expected = [slope * t + shift for t in times]
        if all(abs(e - v) <= TOLERANCE * (abs(e) + 1e-3) for e, v in zip(expected, values, strict=False)):  # type: ignore[operator]
            slope, shift = _rounded(slope), _rounded(shift)
            return path, slope, shift
    raise UserError(f"no argument of {name} follows the scheduler's time by an affine map; this pipeline is not supported")


def _rounded(value: float) -> float:
    """The round number within half precision's error, if there is one: 0.001 for 0.00099999."""
    for known in (0.0, 1.0, -1.0, 0.001, -0.001):
        if abs(value - known) <= 1e-3 * max(abs(known), 1e-3):
            return known
    return value


def _refuse_per_step(whole: Recording, known: set[str], name: str) -> None:
    per_step = max(1, len(whole.calls) // len(whole.times))
    first, last = whole.calls[0], whole.calls[::per_step][-1]
    for path, value in _tensors(first).items():
        other = last.get(path)
        if path not in known and isinstance(other, Tensor) and not _same(value, other):
            raise UserError(f"argument {path!r} of {name} changes from step to step; this pipeline is not supported yet")


def _key_paths(before: Leaves, after: Leaves, ignored: set[str], blocks: int, name: str) -> dict[str, int]:
    """Leaves that belong to the key, with their conditional block: row (block, 1) changed and no other row did."""
    paths: dict[str, int] = {}
    for path, value in _tensors(before).items():
        other = after.get(path)
        if path in ignored or not isinstance(other, Tensor):
            continue
        if value.shape != other.shape:
            raise UserError(f"argument {path!r} of {name} changes its shape with the key; this pipeline is not supported")
        if _same(value, other):
            continue
        if value.shape[0] != 2 * blocks:
            raise UserError(f"argument {path!r} of {name} depends on the key but has no row per item; not supported")
        changed = [
            (block, item)
            for block in range(blocks)
            for item in range(2)
            if not _same(value[2 * block + item], other[2 * block + item])
        ]
        if len(changed) != 1 or changed[0][1] != 1:
            raise UserError(f"changing one key changed rows {changed} of argument {path!r} of {name}; not supported")
        paths[path] = changed[0][0]
    if not paths:
        raise UserError(f"no argument of {name} depends on the key; random conditioning needs a conditional pipeline")
    return paths


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
    for path, value in _tensors(guided).items():
        other = leaves.get(path)
        if path in ignored:
            continue
        if not isinstance(other, Tensor):
            return None
        block = paths.get(path, 0)
        rows = value[2 * block : 2 * block + 2] if value.shape[0] == 2 * other.shape[0] else value
        if not _same(rows, other):
            return None
    return single, (leaves, nested)


def _sorted_rest(
    pair: Leaves, alone: Leaves, known: set[str], blocks: int
) -> tuple[dict[str, Tensor], Leaves]:
    """Leaves with a row per item (their row count follows the number of keys) as one row each, and the constants."""
    bound: dict[str, Tensor] = {}
    constants: Leaves = {}
    for path, value in pair.items():
        if path in known:
            continue
        single = alone.get(path)
        has_rows = isinstance(value, Tensor) and isinstance(single, Tensor) and value.ndim and single.ndim
        if has_rows and value.shape[0] == 2 * blocks and single.shape[0] == blocks:  # type: ignore[union-attr]
            bound[path] = value[0].detach().clone()
        else:
            constants[path] = value.detach() if isinstance(value, Tensor) else value
    return bound, constants


def _verify_single(found: Calibration, pair: Leaves, alone: Leaves, name: str) -> None:
    for path, block in found.key_paths.items():
        if not _same(pair[path][2 * block], alone[path][block]):
            raise UserError(f"argument {path!r} of {name} differs between one key and a batch; not supported")


def _with_null_rows(found: Calibration, pipeline: Any, network: Any, null: tuple[Key | None, dict]) -> Calibration:
    key, rows = null
    if key is None or not rows:
        return found
    leaves, _ = _first(pipeline, network, [key], found.call)
    same = all(_same(leaves[path][found.key_paths[path]], row) for path, row in rows.items())
    return found if same else replace(found, null_rows=rows)
