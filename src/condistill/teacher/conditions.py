"""What belongs to the key, what is bound to an item, what is constant: runs that differ in one key, compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from condistill.errors import UserError
from condistill.maths.randomise import Key
from condistill.teacher.calibration import Calibration
from condistill.teacher.calling import padded
from condistill.teacher.failing import NotRun
from condistill.teacher.keys import parameters_of
from condistill.teacher.leaves import Leaves, Rows, num_rows, rows_of
from condistill.teacher.noisy import same, stacked
from condistill.teacher.null import null_condition, with_null_rows
from condistill.teacher.padding import fixed, with_extras
from condistill.teacher.running import Runner

Keys = tuple[Key, Key, Key]
OFF = (1.0, 0.0)  # guidance scales that pipelines take for none


class NoKey(UserError):
    """Nothing that the denoiser is given depends on the key."""


def without_key(runner: Runner) -> str:
    """The message of `NoKey`; a call may cut its texts before one differs from another."""
    said = f"no argument of {type(runner.network).__name__} depends on the key; "
    cuts = [f"{name}={n}" for name, n in runner.call.items() if name.endswith("_length") and isinstance(n, int)]
    if cuts:
        return f"{said}where {' or '.join(cuts)} cuts the texts before they differ, give more with call="
    return f"{said}random conditioning needs a conditional pipeline"


@dataclass(frozen=True)
class _Runs:
    """Leaves of the conditional call of the first step, and how many keys each run had."""

    pair: Leaves
    swapped: Leaves
    alone: Leaves
    n: int


def with_conditions(found: Calibration, keys: Keys) -> Calibration:
    """The calibration with keys, bound, constants and the null condition filled in.

    Raises:
        UserError: a finding that could not be verified.
    """
    runs = _runs(found, keys)
    _verify_size(found, runs)
    blocks = next(iter(found.noisy.values())).blocks
    paths = _key_paths(found, runs, blocks)
    null_key, null_rows = null_condition(found, keys, runs.pair, runs.n, paths)
    if blocks > 1 and not found.runner.single:
        unguided = _without_guidance(found, keys, runs, paths)
        if unguided is not None:
            found, runs = unguided
            paths = _key_paths(found, runs, 1)
    examples = {path: runs.pair[path] for path in paths}
    found = replace(found, key_paths=paths, ragged=_ragged(runs, paths), examples=examples, null_key=null_key)
    found = _with_rest(found, runs)
    _verify_single(found, runs)
    return with_null_rows(fixed(found, runs.pair, runs.swapped, keys), null_rows)


def _runs(found: Calibration, keys: Keys) -> _Runs:
    a, b, c = keys
    runner = found.runner

    def leaves(*some: Key) -> Leaves:
        return with_extras(found, runner.first(list(some)).leaves(runner.skip, found.lists))

    if runner.single:
        return _Runs(leaves(a), leaves(b), leaves(a), 1)
    return _Runs(leaves(a, b), leaves(a, c), leaves(a), 2)


def _known(found: Calibration) -> set[str]:
    return {*found.noisy, *found.times, *found.links}


def _key_paths(found: Calibration, runs: _Runs, blocks: int) -> dict[str, Rows]:
    """Leaves that belong to the key, with their conditional block: the second item's rows changed and no others."""
    name, known = type(found.runner.network).__name__, _known(found)
    paths: dict[str, Rows] = {}
    candidates: dict[str, list[int]] = {}
    for path, value in runs.pair.items():
        other = runs.swapped.get(path)
        if path in known or same(value, other) or num_rows(value) is None or num_rows(other) is None:
            continue
        if found.runner.single and _is_longer(value, other):
            continue  # positions, as many as the key is long
        rows = _single_rows(value, blocks) if found.runner.single else rows_of(value, runs.alone.get(path), blocks)
        if rows is None and not found.runner.single and runs.alone.get(path) is None:
            # a mask that is left out where nothing is masked
            rows = Rows(blocks=num_rows(value) // 2, is_list=not isinstance(value, Tensor))  # type: ignore[operator]
        if rows is None and isinstance(value, Tensor) and isinstance(other, Tensor) and value.shape != other.shape:
            continue  # shared by the batch and as long as the longest key: see `padding.fixed`
        if rows is None:
            raise UserError(f"argument {path!r} of {name} depends on the key but has no row per item; not supported")
        paths[path], candidates[path] = rows, _changed_blocks(value, other, rows, runs.n, path, name)
    if not paths:
        raise NoKey(without_key(found.runner))
    # one block for all: of a mask also the null rows may follow the length of the key
    votes = [block for path, some in candidates.items() if paths[path].blocks == blocks for block in some]
    usual = max(dict.fromkeys(votes), key=votes.count, default=0)
    return {path: replace(rows, block=_chosen(candidates[path], usual)) for path, rows in paths.items()}


def _is_longer(value: Any, other: Any) -> bool:
    """Whether one of two tensors is the other with more at its end."""
    if not isinstance(value, Tensor) or not isinstance(other, Tensor) or value.shape[1:] != other.shape[1:]:
        return False
    shorter = min(len(value), len(other))
    return len(value) != len(other) and same(value[:shorter], other[:shorter])


def _chosen(candidates: list[int], usual: int) -> int:
    return usual if usual in candidates else candidates[0]


def _single_rows(value: Any, blocks: int) -> Rows | None:
    count = num_rows(value)
    if not count or count % blocks:
        return None
    return Rows(blocks=blocks, per_item=count // blocks, is_list=not isinstance(value, Tensor))


def _changed_blocks(value: Any, other: Any, rows: Rows, n: int, path: str, name: str) -> list[int]:
    """The blocks whose rows of the last item changed, those that tell two keys apart first.

    Raises:
        UserError: rows of another item changed.
    """
    ragged = isinstance(value, Tensor) and isinstance(other, Tensor) and value.shape[1:] != other.shape[1:]
    if ragged:
        value, other = padded([value, other])
    changed = [
        (block, k)
        for block in range(rows.blocks)
        for k in range(n)
        if not same(rows.item(value, k, n, block), rows.item(other, k, n, block))
    ]
    if ragged:
        # the longer of the two keys also pads the other rows: only those of the last item must differ everywhere
        changed = [place for place in changed if place[1] == n - 1] or [(0, n - 1)]
    if not changed or any(k != n - 1 for _, k in changed):
        raise UserError(
            f"changing one key changed rows {changed} (block, item) of argument {path!r} of {name}; not supported"
        )
    # of several (perturbed attention repeats the key; padding reaches the null rows) those that tell keys apart
    blocks = [block for block, _ in changed]
    telling = [b for b in blocks if n > 1 and not same(rows.item(value, 0, n, b), rows.item(value, 1, n, b))]
    return telling or blocks


def _ragged(runs: _Runs, paths: Mapping[str, Rows]) -> dict[str, tuple[int, ...]]:
    """Key arguments whose rows have another shape, or are left out, for another key -> the axes that vary."""
    ragged: dict[str, tuple[int, ...]] = {}
    for path, rows in paths.items():
        if rows.is_list:
            continue
        items = [_item(rows, version) for version in (runs.pair[path], runs.swapped[path], runs.alone.get(path))]
        shapes = {tuple(item.shape) for item in items if item is not None}
        axes = tuple(k for k, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1)
        if axes or any(item is None for item in items):
            ragged[path] = axes or (0,)
    return ragged


def _item(rows: Rows, value: Any) -> Any:
    return None if value is None else rows.item(value, 0, (num_rows(value) or 1) // rows.blocks // rows.per_item)


def _with_rest(found: Calibration, runs: _Runs) -> Calibration:
    """The leaves that do not belong to the key: one item's rows of those that have rows per item, and the constants."""
    known = _known(found) | set(found.key_paths)
    blocks = next(iter(found.noisy.values())).blocks
    bound: dict[str, Tensor] = {}
    bound_paths: dict[str, Rows] = {}
    repeated: Leaves = {}
    constants: Leaves = {}
    for path, value in runs.pair.items():
        rows = None if path in known else _rest_rows(found, runs, path, blocks)
        if path in known:
            continue
        if rows is None:
            constants[path] = value.detach() if isinstance(value, Tensor) else value
            continue
        rows = replace(rows, block=_conditional_block(found.key_paths, rows.blocks))
        item = rows.item(value, 0, runs.n)
        bound_paths[path] = rows
        if isinstance(item, Tensor):
            bound[path] = item.detach().clone()
        else:
            repeated[path] = item
    return replace(found, bound=bound, bound_paths=bound_paths, repeated=repeated, constants=constants)


def _conditional_block(paths: Mapping[str, Rows], blocks: int) -> int:
    """The block that the key's rows are in, of so many."""
    return next((rows.block for rows in paths.values() if rows.blocks == blocks), 0)


def _rest_rows(found: Calibration, runs: _Runs, path: str, blocks: int) -> Rows | None:
    value = runs.pair[path]
    if not found.runner.single:
        return rows_of(value, runs.alone.get(path), blocks)
    # of a sequence (positions along each axis) either all parts have rows or none, though one be as short as a row
    stem = _stem(path)
    parts = [one for p, one in runs.pair.items() if stem != path and _stem(p) == stem] or [value]
    expected = found.rows_per_item(path)
    rows = [_single_rows(one, blocks) if isinstance(one, Tensor) and one.ndim else None for one in parts]
    is_rows = isinstance(value, Tensor) and all(one is not None and one.per_item == expected for one in rows)
    return _single_rows(value, blocks) if is_rows else None


def _stem(path: str) -> str:
    """The path of the outermost sequence that a leaf is in: "rope" of "rope.0.1"."""
    stem, _, last = path.rpartition(".")
    return _stem(stem) if last.isdigit() else path


def _without_guidance(
    found: Calibration, keys: Keys, runs: _Runs, paths: Mapping[str, Rows]
) -> tuple[Calibration, _Runs] | None:
    """The same with guidance off, if the pipeline then makes one block with the very same conditional rows."""
    if "guidance_scale" not in parameters_of(found.runner.pipeline):
        return None
    for scale in OFF:
        runner = replace(found.runner.with_call(guidance_scale=scale), skip=0, blank=None)
        noisy = {path: replace(one, blocks=1) for path, one in found.noisy.items()}
        off = replace(found, runner=runner, noisy=noisy)
        try:
            single = _runs(off, keys)
        except Exception:  # a pipeline that cannot do without guidance keeps it
            continue
        if num_rows(single.pair[found.x_path]) == runs.n and _is_conditional_part(found, runs, single.pair, paths):
            return replace(off, templates=runner.first([keys[0], keys[1]]).nested(0)), single
    return None


def _is_conditional_part(found: Calibration, runs: _Runs, single: Leaves, paths: Mapping[str, Rows]) -> bool:
    """Whether `single` is the conditional rows of the guided call, and nothing else differs."""
    if set(single) != set(runs.pair):
        return False
    for path, value in runs.pair.items():
        other = single[path]
        if path in _known(found):
            continue
        more, fewer = num_rows(value) or 0, num_rows(other) or 0
        if fewer and more > fewer and more % fewer == 0:
            block = paths[path].block if path in paths else _conditional_block(paths, more // fewer)
            value = value[fewer * block : fewer * (block + 1)]
        if not same(value, other):
            return False
    return True


def _verify_size(found: Calibration, runs: _Runs) -> None:
    """Nothing, if x_t has one size whatever the key."""
    for path, noisy in found.noisy.items():
        whole = [stacked(leaves[path]) for leaves in (runs.pair, runs.swapped, runs.alone) if path in leaves]
        sizes = {tuple(noisy.sizes(rows)) for rows in whole if rows is not None}
        if len(sizes) > 1:
            raise NotRun(
                f"the size of what {type(found.runner.pipeline).__name__} samples depends on the key; pass what fixes "
                "it (size, duration) with call="
            )


def _verify_single(found: Calibration, runs: _Runs) -> None:
    name = type(found.runner.network).__name__
    for path, rows in found.key_paths.items():
        value, alone = runs.pair[path], runs.alone.get(path)
        if path in found.ragged or runs.n == 1:
            continue
        if not same(rows.item(value, 0, 2), rows.item(alone, 0, 1)):
            raise UserError(f"argument {path!r} of {name} differs between one key and a batch; not supported")
