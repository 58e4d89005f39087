"""Depth of any network: fewer blocks in the stacks that measuring finds, each student block with its teacher block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from condistill.errors import UserError, unknown_name
from condistill.students.inherit import Choose, counterparts, evenly
from condistill.students.meta import on_meta, shapes
from condistill.students.per_block import Stay, entries, in_order, shared_items
from condistill.students.presets import Cut
from condistill.students.stacks import Stack, find_stacks, lists_blocks
from condistill.students.width import narrow_transformer, transformer_ways

# a stack with less than this share of the largest one's parameters is left alone by depth= (keep= may name it)
WORTH_CUTTING = 0.1
MAX_TAPS = 8  # per stack: feature maps of transformers are large, and all of them are held until the loss

Found = tuple[dict[str, Any], nn.Module, dict[str, str], list[tuple[str, str]], tuple[str, ...]]
# (path of the list, the teacher's blocks to choose from, the student's places to fill, the student's length)
Pick = Callable[[str, Sequence[int], Sequence[int], int], Sequence[int]]
Kept = Mapping[Stack, tuple[int, ...] | int]
Runs = Callable[[nn.Module], bool]
Fitting = tuple[dict[str, Any], nn.Module, dict[str, str]]


def cut_depth(
    cls: type,
    config: Mapping[str, Any],
    teacher: nn.Module,
    cut: Cut,
    *,
    inputs: Mapping[str, Any] | None = None,
    runs: Runs = lambda _: True,
) -> Found:
    """(config, student on the meta device, counterparts, taps, notes) of a network with fewer or narrower blocks.

    Args:
        cls: class of the network.
        config: the teacher's.
        teacher: on the meta device.
        cut: depth, keep, chosen_by and width are read.
        inputs: the network's arguments for one item, where its class does not tell them; for narrowing.
        runs: whether a student (on the meta device) runs on what its pipeline gives; asked where there is a choice.

    Raises:
        UserError: a cut that only U-Nets know, no such stack, no such block, a cut of nothing, a misfit by name, an
            impossible width, or blocks that have to be measured first.
    """
    stacks = find_stacks(cls, config, teacher)
    known = ", ".join(f"{s.lists[0]} ({s.length})" for s in stacks) or "none"
    if cut.needs_unet:
        cuts = f"depth=0.5, or keep= on a stack: {known}" if stacks else "width=0.5, as it has no stack of blocks"
        raise UserError(f"this preset is for the U-Nets of Stable Diffusion and SDXL, got {cls.__name__}; try {cuts}")
    if cut.chosen_by not in PICKS:
        raise UserError(f"blocks={cut.chosen_by} {NEEDS_CACHE}")
    kept = _kept(cls, teacher, stacks, cut)
    pick = PICKS[cut.chosen_by]
    after, student, modules = _first_that_fits(cls, config, teacher, kept, pick=pick, stacks=stacks, runs=runs)
    pairs, notes = _taps(teacher, modules, stacks), ()
    if cut.width < 1.0:
        after, notes = narrow_transformer(cls, after, cut.width, inputs=inputs, whole=teacher)
        student = on_meta(cls, after)
    return after, student, modules, pairs, notes


def keep_best(
    cls: type, config: Mapping[str, Any], teacher: nn.Module, cut: Cut, score: Callable[[Stack], Sequence[float]]
) -> dict[str, tuple[int, ...]]:
    """List of blocks -> those that stay where the cut's depth keeps the ones with the highest scores.

    Blocks are chosen among those that fit their place; a last block unlike all others always stays.

    Args:
        cls, config, teacher, cut: as of `cut_depth`.
        score: gives one number for each block of a stack.
    """
    stacks = find_stacks(cls, config, teacher)
    kept = _kept(cls, teacher, stacks, cut)
    shortened = [stack for stack, count in kept.items() if isinstance(count, int) and count < stack.length]
    for path, length in ((path, stack.length) for stack in shortened for path in stack.lists):
        items = len(teacher.get_submodule(path))  # type: ignore[arg-type]
        if items != length:
            raise UserError(
                f"blocks=scored cannot score one of {items} items in {length} layers of {path}; use blocks=even"
            )
    scores: dict[str, list[float]] = {}
    for stack in shortened:
        found = list(score(stack))
        for path in stack.lists:
            *others, last = map(_signature, teacher.get_submodule(path).children())
            scores[path] = found if last in others else [*found[:-1], math.inf]

    def best(path: str, blocks: Sequence[int], places: Sequence[int], total: int) -> Sequence[int]:
        if path not in scores:
            return spread(path, blocks, places, total)
        return sorted(sorted(blocks, key=lambda k: (-scores[path][k], k))[: len(places)])

    _, student, modules = _first_that_fits(cls, config, teacher, kept, pick=best, stacks=stacks)
    stay = {}
    for stack in shortened:
        path = stack.lists[0]
        items = student.get_submodule(path).named_children()
        stay[path] = tuple(int(modules[f"{path}.{name}"].rpartition(".")[2]) for name, _ in items)
    return stay


def spread(path: str, blocks: Sequence[int], places: Sequence[int], total: int) -> Sequence[int]:
    """`blocks=even`: evenly spread ones, with the first and the last."""
    return [blocks[k] for k in evenly(len(blocks), len(places))]


def from_both_ends(path: str, blocks: Sequence[int], places: Sequence[int], total: int) -> Sequence[int]:
    """`blocks=ends`: the first blocks for the student's early half, the last ones for its late half.

    Of m blocks the first ceil(m / 2) are the teacher's first ones and the others its last ones, so what goes is the
    middle. Where blocks are not all alike, this holds among those of each kind.

    Source: BK-SDM keeps the first layers of a U-Net's down blocks and the last of its up blocks; a stack has no down
    and up, so its halves stand for them.

    >>> from_both_ends("blocks", range(8), range(3), 3)
    [0, 1, 7]
    """
    early = sum(2 * place < total for place in places)
    late = len(places) - early
    return [*blocks[:early], *blocks[len(blocks) - late :]]


PICKS: dict[str, Pick] = {"even": spread, "ends": from_both_ends}
NEEDS_CACHE = (
    "measures the teacher on D: teacher.student(spec, cache=cache), condistill student --cache, or a recipe; "
    "without D choose blocks=even or blocks=ends"
)


def _kept(cls: type, teacher: nn.Module, stacks: Sequence[Stack], cut: Cut) -> dict[Stack, tuple[int, ...] | int]:
    """Stack -> the blocks that stay, or only their number."""
    kept: dict[Stack, tuple[int, ...] | int] = {}
    for name, blocks in cut.keep.items():
        stack = next((s for s in stacks if s.is_called(name)), None)
        if not stacks:
            raise UserError(f"keep={name}:... names no blocks of {cls.__name__}: {_no_stack(cls, teacher)}")
        if stack is None:
            raise unknown_name(f"stack of {cls.__name__}", name, [path for s in stacks for path in s.lists])
        items = len(teacher.get_submodule(stack.lists[0]))  # type: ignore[arg-type]
        if items != stack.length:
            raise UserError(f"keep={name}:... cannot name one of {items} items in {stack.length} layers; use depth=")
        if blocks[-1] >= stack.length:
            raise UserError(f"keep={name}:... names block {blocks[-1]}; there are 0 to {stack.length - 1}")
        if len(blocks) == stack.length:
            raise UserError(f"keep={name}:... names all {stack.length} blocks, which cuts nothing; leave some out")
        kept[stack] = blocks
    if cut.depth < 1.0:
        worth = [s for s in stacks if s not in kept and s.parameters >= WORTH_CUTTING * stacks[0].parameters]
        kept |= {s: max(1, math.floor(s.length * cut.depth + 0.5)) for s in worth}
        if all(count == s.length for s, count in kept.items()):
            counts = ", ".join(f"{s.lists[0]} ({s.length})" for s in stacks)
            said = f"{counts}; give a smaller depth" if counts else _no_stack(cls, teacher)
            raise UserError(f"depth={cut.depth:g} cuts nothing from {cls.__name__}: {said}")
    return kept


def _no_stack(cls: type, teacher: nn.Module) -> str:
    return f"no list of two or more blocks; {transformer_ways(cls, teacher)}"


def _first_that_fits(
    cls: type,
    config: Mapping[str, Any],
    teacher: nn.Module,
    kept: Kept,
    *,
    pick: Pick,
    stacks: Sequence[Stack],
    runs: Runs = lambda _: True,
) -> Fitting:
    """The first of the configs whose tensors all have a counterpart; one that runs if there is one."""
    misfit, refused = "", None
    fitting: list[Fitting] = []
    ordered, configs = in_order(teacher, stacks), list(_configs(config, kept, pick))
    num_counted = len(configs)
    for number, after in enumerate(configs):
        try:
            student = on_meta(cls, after)
        except UserError as error:
            refused = error
            continue
        choose = _choice(teacher, student, kept, ordered, pick)
        modules = counterparts(teacher, student, choose)
        now = misfit_of(teacher, student, modules)
        misfit = misfit or now
        if now:
            continue
        fitting.append((after, student, modules))
        if number < num_counted:
            fewer = {**after, **entries(after, ordered, _stay(teacher, student, choose))}
            configs += [fewer] if fewer != after else []
        if len(configs) == 1 or runs(student):
            return fitting[-1]
    if fitting:  # what is wrong with it is said where it is run
        return fitting[0]
    if refused is not None and not misfit:
        raise refused
    raise UserError(f"the student's tensor {misfit} after this cut; keep other blocks (the last one, for a start)")


def _choice(teacher: nn.Module, student: nn.Module, kept: Kept, ordered: Sequence[Stack], pick: Pick) -> Choose:
    fixed = {path: blocks for s, blocks in kept.items() if not isinstance(blocks, int) for path in s.lists}

    def choose(path: str, theirs: nn.ModuleList, ours: nn.ModuleList) -> Sequence[int]:
        shared = shared_items(path, len(theirs), ordered, _stay(teacher, student, choose))
        if shared is not None and len(shared) == len(ours):
            return shared
        return fixed[path] if path in fixed else alike(path, theirs, ours, pick)

    return choose


def _stay(teacher: nn.Module, student: nn.Module, choose: Choose) -> Stay:
    return lambda path: choose(path, teacher.get_submodule(path), student.get_submodule(path))  # type: ignore[arg-type]


def _configs(config: Mapping[str, Any], kept: Kept, pick: Pick) -> Iterator[dict[str, Any]]:
    """The configs to try: counts lowered; then also the fields that list block numbers, renumbered or as many."""
    lowered = dict(config)
    for stack, blocks in kept.items():
        lowered = stack.in_config(lowered, blocks if isinstance(blocks, int) else len(blocks))
    yield lowered
    for stack, blocks in kept.items():
        if isinstance(blocks, int):
            stay = list(pick(stack.lists[0], range(stack.length), range(blocks), blocks))
        else:
            stay = list(blocks)
        listed = {
            name: value
            for name, value in config.items()
            if lowered[name] == value and lists_blocks(value, stack.length)
        }
        if not listed:
            continue
        yield lowered | {name: [k for k, block in enumerate(stay) if block in value] for name, value in listed.items()}
        # a pipeline may give something for each of the numbers
        yield lowered | {name: evenly(len(stay), min(len(stay), len(value))) for name, value in listed.items()}


def misfit_of(teacher: nn.Module, student: nn.Module, modules: Mapping[str, str]) -> str:
    """The first tensor of the student without a teacher's tensor of its shape, in words; "" if there is none."""
    before = shapes(teacher)
    for name, shape in shapes(student).items():
        path, _, leaf = name.rpartition(".")
        theirs = before.get(f"{modules[path]}.{leaf}".lstrip(".")) if path in modules else None
        if theirs != shape:
            return f"{name!r} {shape} has no counterpart in the teacher" + (f" (which has {theirs})" if theirs else "")
    return ""


def alike(path: str, theirs: nn.ModuleList, ours: nn.ModuleList, pick: Pick) -> Sequence[int]:
    """The teacher's block for each of the student's, picked among those with the same tensors.

    Blocks are not always all alike: the last one of SD3 has no text stream to give on, the second half of a U-shaped
    transformer has skip connections.
    """
    groups: dict[Any, list[int]] = {}
    for k, block in enumerate(theirs):
        groups.setdefault(_signature(block), []).append(k)
    wanted: dict[Any, list[int]] = {}
    for k, block in enumerate(ours):
        wanted.setdefault(_signature(block), []).append(k)
    found: dict[int, int] = {}
    for signature, places in wanted.items():
        blocks = groups.get(signature, [])
        if len(blocks) >= len(places):
            found |= dict(zip(places, pick(path, blocks, places, len(ours)), strict=True))
    chosen = [found.get(k, -1) for k in range(len(ours))]
    fits = -1 not in chosen and chosen == sorted(set(chosen))
    return chosen if fits else pick(path, range(len(theirs)), range(len(ours)), len(ours))


def _signature(block: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(sorted(shapes(block).items()))


def _taps(teacher: nn.Module, modules: Mapping[str, str], stacks: Sequence[Stack]) -> list[tuple[str, str]]:
    """Outputs after which the same teacher block follows in both: student's k with the one before its (k+1)-th."""
    pairs = []
    for path in (path for stack in stacks for path in stack.lists):
        blocks = teacher.get_submodule(path)
        assert isinstance(blocks, nn.ModuleList)
        stay = [k for k in range(len(blocks)) if f"{path}.{k}" in modules.values()]
        ends = [after - 1 for after in stay[1:]] + [len(blocks) - 1] * bool(stay)
        if _signature(blocks[-1]) != _signature(blocks[0]):
            ends = ends[:-1]  # a last block unlike the others need not give out what the others do
        for k in evenly(len(ends), min(len(ends), MAX_TAPS)) if ends else ():
            pairs.append((f"{path}.{ends[k]}", f"{path}.{k}"))
    return pairs
