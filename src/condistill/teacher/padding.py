"""Keys of different length: padded where that changes nothing, else beside one long key, else apart by length."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.maths.draws import generator
from condistill.maths.randomise import Key
from condistill.teacher.calibration import Calibration
from condistill.teacher.calling import call_arguments, padded, precision_of, prediction, stacked_rows
from condistill.teacher.condition import Condition
from condistill.teacher.leaves import Leaves, Rows
from condistill.teacher.noisy import same
from condistill.teacher.running import unheard

LONG = " ".join(["a quiet village by the sea at dawn with boats and gulls"] * 100)
PADDING = 5  # rows added for the check
# relative, in float32 and in half precision: attention over masked rows changes the order of summation
HARMLESS = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 3e-2}


def fixed(found: Calibration, pair: Leaves, swapped: Leaves, keys: tuple[Key, Key, Key]) -> Calibration:
    """The calibration with keys of different length taken care of: padded, beside a long key, or by length."""
    known = {*found.noisy, *found.times, *found.links, *found.key_paths}
    shared = [p for p, v in pair.items() if p not in known and _shape(v) != _shape(swapped.get(p))]
    if not found.ragged and not shared:
        return found
    if not shared and _is_harmless(found, keys[0]):
        return found
    return _beside_a_long_key(found, keys, pair) or _by_length(found, pair, swapped, keys)


def _by_length(found: Calibration, pair: Leaves, swapped: Leaves, keys: tuple[Key, Key, Key]) -> Calibration:
    """The calibration with only keys of one length given together; what all of them share goes with the key too."""
    known = {*found.noisy, *found.times, *found.links, *found.key_paths, *found.bound}
    shared = {
        path: Rows(is_shared=True, is_list=not isinstance(value, Tensor))
        for path, value in pair.items()
        if path not in known and not same(value, swapped.get(path))
    }
    alone = [found.runner.first([key]) for key in keys[:2]]
    given = [with_extras(found, recording.leaves(found.runner.skip, found.lists)) for recording in alone]
    # a mask that hides padding is left out where a key is alone
    paths = {path: rows for path, rows in found.key_paths.items() if any(path in leaves for leaves in given)} | shared
    return replace(
        found,
        by_length=True,
        templates=alone[0].nested(found.runner.skip),
        key_paths=paths,
        ragged={path: found.ragged.get(path, ()) for path in paths if path in found.ragged or path in shared},
        examples={path: pair[path] for path in paths},
        constants={path: value for path, value in found.constants.items() if path not in shared},
    )


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _is_harmless(found: Calibration, key: Key) -> bool:
    """Whether the denoiser answers the same when a key's rows are padded."""
    row = recorded_rows(found, [key])[0]
    longer = {path: _longer(value, found.ragged.get(path, ())) for path, value in row.items()}
    try:
        answers = [answer(found, [one]) for one in (row, longer)]
    except Exception:  # a network that does not run like this says nothing about padding
        return False
    return _are_equal(found, *answers)


@torch.no_grad()
def answer(found: Calibration, rows: list[dict[str, Any]], *, first: int = 0) -> Tensor:
    """What the denoiser answers for noise of half time, from number `first` on, and the conditions `rows` of b keys."""
    network, b = found.runner.network, len(rows)
    weight = next(network.parameters())
    drawn = [generator(0, "padding", number) for number in range(first, first + b)]
    x_t = torch.stack([torch.randn(found.latent_shape, generator=one) for one in drawn]).to(weight.device)
    half = 500 if found.observed is None else found.observed.path.num_steps / 2
    t = torch.tensor([half] * b, device=weight.device)
    bound = {path: value.expand(b, *value.shape) for path, value in found.bound.items()}
    condition = Condition(stacked_rows(rows, found), bound)
    arguments = call_arguments(found, found.runner.pipeline, x_t, t, condition, dtype=precision_of(network))
    return prediction(found, network(**arguments))


def check_together(found: Calibration, keys: tuple[Key, Key, Key]) -> None:
    """Nothing, if the denoiser answers two items as each alone although a picture or video is given only once for all.

    Raises:
        UserError: it does not, so the pipeline does not repeat what it gives for every item.
    """
    once = [p for p, v in found.constants.items() if isinstance(v, Tensor) and v.ndim >= 4 and v.shape[0] == 1]
    if found.runner.single or found.by_length or not once:
        return
    said = f"argument {once[0]!r} of {type(found.runner.network).__name__} is given once for all items, which it"
    rows = recorded_rows(found, list(keys[:2]))
    try:
        together = answer(found, rows)
    except (NameError, ImportError):  # a network that lacks a library says nothing about it
        return
    except RuntimeError as error:
        raise UserError(f"{said} does not take ({' '.join(str(error).split())[:100]})") from error
    if not _are_equal(found, answer(found, rows[:1]), together[:1]):
        raise UserError(f"{said} takes for something else where there are two; not supported")


def with_equal(found: Calibration, keys: tuple[Key, Key, Key]) -> Calibration:
    """The calibration with the numbers (positions) that the denoiser reads from the first item for all of a call.

    Raises:
        UserError: two items are answered with something else than each alone, and not for that.
    """
    named = [p for p, v in found.examples.items() if _is_numbers(v) and p not in found.ragged]
    if found.runner.single or found.by_length or not named:
        return found
    a, b = recorded_rows(found, list(keys[:2]))
    try:
        if _same_as_alone(found, a, b):
            return found
        for path in named:
            if _same_as_alone(found, a, {**b, path: a[path]}):
                return replace(found, equal=(path,))
    except Exception:  # a network that does not run like this says nothing
        return found
    raise UserError(
        f"{type(found.runner.network).__name__} answers two keys together with something else than each alone; this "
        "pipeline is not supported"
    )


def _same_as_alone(found: Calibration, a: dict[str, Any], b: dict[str, Any]) -> bool:
    return _are_equal(found, answer(found, [b], first=1), answer(found, [a, b])[1:])


def _is_numbers(value: Any) -> bool:
    """Whether rows of whole numbers that are no mask: words, positions."""
    is_whole = isinstance(value, Tensor) and not value.is_floating_point() and value.dtype != torch.bool
    return is_whole and value.ndim >= 2 and bool(value.abs().max() > 1)


def _are_equal(found: Calibration, a: Tensor, b: Tensor) -> bool:
    """Whether two answers of the denoiser differ by no more than rounding."""
    if a.shape != b.shape:
        return False
    allowed = HARMLESS.get(precision_of(found.runner.network), 1e-4)
    return bool((a.float() - b.float()).abs().max() <= allowed * a.float().abs().max())


def _longer(value: Tensor, axes: tuple[int, ...]) -> Tensor:
    more = value.new_zeros([size + PADDING * (axis in axes) for axis, size in enumerate(value.shape)])
    return padded([value, more])[0]


def _beside_a_long_key(found: Calibration, keys: tuple[Key, Key, Key], pair: Leaves) -> Calibration | None:
    if found.runner.single or not isinstance(keys[0], str):
        return None
    try:
        recordings = [found.runner.first([key, LONG]) for key in keys]
    except Exception:  # a pipeline whose keys are no plain words
        return None
    leaves = [with_extras(found, recording.leaves(found.runner.skip, found.lists)) for recording in recordings]
    if any(_shape(one.get(path)) != _shape(value) for one in leaves[1:] for path, value in leaves[0].items()):
        return None
    if any(_shape(leaves[0].get(path)) != _shape(pair[path]) for path in found.noisy):
        return None  # the length of what is sampled depends on the key
    constants = {path: leaves[0].get(path, value) for path, value in found.constants.items()}
    return replace(found, companion=LONG, ragged={}, constants=constants)


def with_extras(found: Calibration, leaves: Leaves) -> Leaves:
    """The leaves, and what stands beside x_t or in its place as leaves of their own: `path + "+"`."""
    extras = {}
    for path, noisy in found.noisy.items():
        if noisy.has_extra and leaves.get(path) is not None:
            rows = torch.stack(list(leaves[path])) if noisy.is_list else leaves[path]
            extras[f"{path}+"] = noisy.extra(rows)
    return leaves | extras


def recorded_rows(found: Calibration, keys: list[Key]) -> list[dict[str, Any]]:
    """What each key gives the denoiser: path -> (...) rows without a batch axis. One run of the pipeline.

    Where the shapes depend on the key, and where the pipeline takes one key at a time, one run for each key.
    """
    one_by_one = found.runner.single or found.ragged or found.companion is not None
    if one_by_one and len(keys) > 1:
        return [recorded_rows(found, [key])[0] for key in keys]
    together = keys if found.companion is None else [*keys, found.companion]
    with unheard() if found.companion is not None else nullcontext():  # a companion is too long on purpose
        recording = found.runner.first(together, alike=True)
    leaves = with_extras(found, recording.leaves(found.runner.skip, found.lists))
    n = len(together)
    rows = []
    for k in range(len(keys)):
        row = {}
        for path, place in found.key_paths.items():
            value = leaves.get(path)
            row[path] = None if value is None else _as_tensor(place.item(value, k, n))
        rows.append(_without_gaps(found, row))
    return rows


def _as_tensor(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else torch.tensor(value)


def _without_gaps(found: Calibration, row: dict[str, Any]) -> dict[str, Any]:
    """The row with masks that the pipeline left out, because all of it is attended to, written out."""
    gaps = [path for path, value in row.items() if value is None]
    if not gaps:
        return row
    lengths = [len(row[path]) for path in found.ragged if isinstance(row[path], Tensor)]
    for path in gaps:
        usual = found.examples[path]
        row[path] = torch.ones(
            *(lengths[:1] or usual.shape[1:2]), *usual.shape[2:], dtype=usual.dtype, device=usual.device
        )
    return row
