"""Channel widths times a share: a U-Net's, so that norm groups and heads stay valid; a transformer's, by heads."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from itertools import combinations
from typing import Any

from torch import nn

from condistill.errors import UserError
from condistill.students.meta import clean, on_meta, shapes
from condistill.students.passes import one_pass
from condistill.students.stacks import lengths

# a width may be off the wanted one by this share of it through rounding (SD's 320 x 0.75 = 240 becomes 256)
ROUNDING = 0.1


def narrow_unet(config: Mapping[str, Any], width: float) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The config with every width times `width`, and a note for each width that was rounded.

    SD 1.x writes `attention_head_dim: 8` and means 8 heads: they stay and get narrower. Where heads are given per
    stage (SD 2.x, SDXL), the number that comes closest to the teacher's size of a head is taken.

    Raises:
        UserError: no valid width close enough; names those that are possible.
    """
    widths = list(config["block_out_channels"])
    field = "num_attention_heads" if config.get("num_attention_heads") else "attention_head_dim"
    given = config.get(field) or 1
    unit = math.lcm(config.get("norm_num_groups", 32) or 1, given if isinstance(given, int) else 1)
    found = [_rounded(channels, width, unit) for channels in widths]
    if found == widths:
        raise UserError(f"width={width:g} cuts nothing from widths {widths}; {_possible(widths, unit)}")
    student = {**config, "block_out_channels": found}
    if not isinstance(given, int):
        sizes = zip(widths, found, given, strict=True)
        student[field] = [_heads(before, after, heads) for before, after, heads in sizes]
    notes = tuple(
        f"width {channels} x {width:g} = {channels * width:g} rounded to {got}, a multiple of {unit}"
        for channels, got in zip(widths, found, strict=True)
        if got != channels * width
    )
    return student, notes


def _rounded(channels: int, width: float, unit: int) -> int:
    wanted = channels * width
    got = math.floor(wanted / unit + 0.5) * unit
    if got <= 0 or abs(got - wanted) > ROUNDING * wanted:
        raise UserError(
            f"width={width:g} of {channels} channels is {wanted:g}, but multiples of {unit} are wanted (norm groups "
            f"and heads); {_possible([channels], unit)}"
        )
    return got


def _possible(widths: list[int], unit: int) -> str:
    smallest = min(widths)
    shares = [f"{k * unit / smallest:.3g}" for k in range(1, (smallest - 1) // unit + 1)]
    return (
        f"possible: width={', '.join(shares)}" if shares else f"{smallest} channels cannot be narrowed; try depth=0.5"
    )


def _heads(before: int, after: int, heads: int) -> int:
    size = before // heads
    fitting = [h for h in range(1, heads + 1) if after % h == 0 and after // h <= size]
    if not fitting:
        raise UserError(
            f"{after} channels cannot be split into at most {heads} heads of at most {size} channels; try another width"
        )
    return min(fitting, key=lambda h: abs(after // h - size))


def narrow_transformer(
    cls: type, config: Mapping[str, Any], width: float, *, inputs: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The config with fewer attention heads of the same size, and a note where the share was rounded.

    Heads keep their size, because rotary axes divide it. Which fields must go along (inner widths, other counts of
    heads, widths of feed-forward layers) is found by trying: the network has to build and, where its inputs are known,
    to answer in the teacher's shape.

    Args:
        cls: class of the network.
        config: its config.
        width: share of the heads that stays, in (0, 1).
        inputs: the network's arguments for one item; those known for its class if None.

    Raises:
        UserError: no such student; names the shares that are possible.
    """
    network = on_meta(cls, config)
    config = clean(network.config)  # type: ignore[arg-type]
    heads = {name: value for name, value in config.items() if "heads" in name and type(value) is int and value > 1}
    if not heads:
        raise UserError(f"width={width:g}: {cls.__name__} has no number of heads in its config; try depth=0.5")
    main = max(heads, key=lambda name: heads[name])
    counts = [k for k in range(1, heads[main]) if all(value * k % heads[main] == 0 for value in heads.values())]
    counts = counts or list(range(1, heads[main]))
    shares = ", ".join(f"{k / heads[main]:.3g}" for k in counts)
    wanted = heads[main] * width
    kept = min(counts, key=lambda k: abs(k - wanted))
    if abs(kept - wanted) > ROUNDING * wanted:
        raise UserError(f"width={width:g} of {heads[main]} heads is {wanted:g}; possible: width={shares}")
    changes = _that_run(cls, network, main, kept, inputs)
    if changes is None:
        others = [k for k in counts if _that_run(cls, network, main, k, inputs)]
        shares = ", ".join(f"{k / heads[main]:.3g}" for k in others)
        possible = f"possible: width={shares}" if shares else "no other number of them does either; try depth=0.5"
        raise UserError(f"width={width:g}: no {cls.__name__} with {kept} of {heads[main]} heads runs; {possible}")
    rounded = f"width {heads[main]} heads x {width:g} = {wanted:g} rounded to {kept}"
    return {**config, **changes}, () if kept == wanted else (rounded,)


def _that_run(
    cls: type, network: nn.Module, main: str, kept: int, inputs: Mapping[str, Any] | None
) -> dict[str, int] | None:
    """The changes of the config that leave `kept` heads, as large a set as builds and runs; None if there is none."""
    config, reference = clean(network.config), one_pass(network, inputs)  # type: ignore[arg-type]
    for changes in _joint_changes(cls, network, main, Fraction(kept, config[main])):
        with suppress(UserError):
            student = on_meta(cls, {**config, **changes})
            found = one_pass(student, inputs) if reference else None
            if reference is None or (found is not None and found.outputs[""] == reference.outputs[""]):
                return changes
    return None


def _joint_changes(cls: type, network: nn.Module, main: str, share: Fraction) -> Iterator[dict[str, int]]:
    """The sets of fields to lower: all that look as if they belong together first, then fewer of them."""
    config, inner = clean(network.config), inner_width(network)  # type: ignore[arg-type]
    certain: dict[str, int] = {}
    doubtful: dict[str, int] = {}
    hidden: dict[str, int] = {}
    for name, value in config.items():
        if type(value) is not int or value < 2 or name == main or (value * share).denominator > 1:
            continue
        lowered = int(value * share)
        if "heads" in name:
            certain[name] = lowered
        elif value == inner:
            outside = _only_reads_outside(_changed(cls, network, {name: lowered}))
            (doubtful if outside else certain)[name] = lowered
        elif value > inner and _is_hidden(_changed(cls, network, {name: lowered})):
            hidden[name] = lowered
    for optional in ({**certain}, {**certain, **doubtful}):
        for count in range(len(optional), -1, -1):
            for names in combinations(optional, count):
                yield {main: int(config[main] * share), **hidden, **{name: optional[name] for name in names}}


# per changed tensor: whether it is in a list of blocks, its shape before and after
Changed = list[tuple[bool, tuple[int, ...], tuple[int, ...]]]


def _changed(cls: type, network: nn.Module, changes: Mapping[str, Any]) -> Changed:
    """The tensors whose shape a change of the config alters; none where it does not build."""
    try:
        other = shapes(on_meta(cls, {**clean(network.config), **changes}))  # type: ignore[arg-type]
    except UserError:
        return []
    inside = tuple(f"{path}." for path in lengths(network))
    before = shapes(network)
    return [
        (name.startswith(inside), shape, other[name])
        for name, shape in before.items()
        if name in other and other[name] != shape
    ]


def _only_reads_outside(changed: Changed) -> bool:
    """Whether a field is the width of something given from outside: layers before the blocks read it, none makes it."""
    return bool(changed) and all(not inside and (len(a) < 2 or a[0] == b[0]) for inside, a, b in changed)


def _is_hidden(changed: Changed) -> bool:
    """Whether a field is a width that blocks have within: one of their layers makes it, another reads it."""
    matrices = [(a, b) for _, a, b in changed if len(a) > 1]
    makes, reads = any(a[0] != b[0] for a, b in matrices), any(a[1] != b[1] for a, b in matrices)
    return makes and reads and all(inside for inside, _, _ in changed)


def inner_width(network: nn.Module) -> int:
    """The width of the stream that the blocks of a transformer share: the commonest dimension of their matrices."""
    inside = tuple(f"{path}." for path in lengths(network))
    found = Counter(n for name, shape in shapes(network).items() if name.startswith(inside) for n in shape if n > 1)
    return found.most_common(1)[0][0] if found else 0
