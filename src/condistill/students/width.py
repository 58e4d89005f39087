"""Channel widths times a share: a U-Net's, so that norm groups and heads stay valid; a transformer's, by heads."""

from __future__ import annotations

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
from condistill.students.stacks import find_stacks, lengths
from condistill.students.ways import ROUNDING, heads_of, heads_that_fit, rounded, unet_ways, unit_of, ways


def narrow_unet(
    config: Mapping[str, Any], width: float, *, whole: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The config with every width times `width`, and a note for each width that was rounded.

    Args:
        config: that of a U-Net whose blocks are cut already.
        width: share of the channels.
        whole: the teacher's, of which an error says what else could be cut; `config` if None.

    SD 1.x writes `attention_head_dim: 8` and means 8 heads: they stay and get narrower. Where heads are given per
    stage (SD 2.x, SDXL), the number that comes closest to the teacher's size of a head is taken.

    Raises:
        UserError: no valid width close enough; names those that are possible.
    """
    widths, unit = list(config["block_out_channels"]), unit_of(config)
    field, given = heads_of(config)
    whole = whole or config
    found = [_rounded(whole, channels, width, unit) for channels in widths]
    if found == widths:
        raise UserError(f"width={width:g} cuts nothing from widths {widths}; {unet_ways(whole)}")
    student = {**config, "block_out_channels": found}
    if config.get("cross_attention_dim") in (widths, tuple(widths)):
        student["cross_attention_dim"] = found  # of a U-Net that attends to itself there (AudioLDM)
    if not isinstance(given, int):
        sizes = zip(widths, found, given, strict=True)
        student[field] = [_heads(whole, before, after, heads) for before, after, heads in sizes]
    notes = tuple(
        f"width {channels} x {width:g} = {channels * width:g} rounded to {got}, a multiple of {unit}"
        for channels, got in zip(widths, found, strict=True)
        if got != channels * width
    )
    return student, notes


def _rounded(config: Mapping[str, Any], channels: int, width: float, unit: int) -> int:
    got = rounded(channels, width, unit)
    if got is None:
        narrow = "" if channels > unit else f", so {channels} channels cannot be narrowed"
        raise UserError(
            f"width={width:g} of {channels} channels is {channels * width:g}, but multiples of {unit} are wanted (norm "
            f"groups and heads){narrow}; {unet_ways(config)}"
        )
    return got


def _heads(config: Mapping[str, Any], before: int, after: int, heads: int) -> int:
    size, fitting = before // heads, heads_that_fit(before, after, heads)
    if not fitting:
        raise UserError(
            f"{after} channels cannot be split into at most {heads} heads of at most {size} channels; "
            f"{unet_ways(config)}"
        )
    return min(fitting, key=lambda h: abs(after // h - size))


def narrow_transformer(
    cls: type,
    config: Mapping[str, Any],
    width: float,
    *,
    inputs: Mapping[str, Any] | None = None,
    whole: nn.Module | None = None,
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
        whole: the teacher on the meta device, of which an error says what else could be cut, where `config` is that of
            a network whose blocks are cut already.

    Raises:
        UserError: no such student; names the shares that are possible.
    """
    network = on_meta(cls, config)
    config = clean(network.config)  # type: ignore[arg-type]
    heads, counts = _counts(config)
    if not heads:
        other = whole if whole is not None else network
        known = ways(deeper=bool(find_stacks(cls, clean(other.config), other)), shares=())  # type: ignore[arg-type]
        raise UserError(f"width={width:g}: {cls.__name__} has no number of heads in its config; {known}")
    main = max(heads, key=lambda name: heads[name])
    shares = ", ".join(f"{k / heads[main]:.3g}" for k in counts)
    wanted = heads[main] * width
    kept = min(counts, key=lambda k: abs(k - wanted))
    if abs(kept - wanted) > ROUNDING * wanted:
        raise UserError(f"width={width:g} of {heads[main]} heads is {wanted:g}; possible: width={shares}")
    changes = _that_run(cls, network, main, kept, inputs)
    if changes is None:
        known = transformer_ways(cls, network if whole is None else whole, inputs)
        raise UserError(f"width={width:g}: no {cls.__name__} with {kept} of {heads[main]} heads runs; {known}")
    note = f"width {heads[main]} heads x {width:g} = {wanted:g} rounded to {kept}"
    return {**config, **changes}, () if kept == wanted else (note,)


def transformer_ways(cls: type, network: nn.Module, inputs: Mapping[str, Any] | None = None) -> str:
    """The depth and the widths that cut this network, or that there are none; each width was tried."""
    config = clean(network.config)  # type: ignore[arg-type]
    heads, counts = _counts(config)
    main = max(heads, key=lambda name: heads[name], default="")
    shares = [f"{k / heads[main]:.3g}" for k in counts if _that_run(cls, network, main, k, inputs)]
    return ways(deeper=bool(find_stacks(cls, config, network)), shares=shares)


def _counts(config: Mapping[str, Any]) -> tuple[dict[str, int], list[int]]:
    """The fields that say how many heads there are, and to how many the largest of them may go down."""
    heads = {name: value for name, value in config.items() if "heads" in name and type(value) is int and value > 1}
    most = max(heads.values(), default=1)
    counts = [k for k in range(1, most) if all(value * k % most == 0 for value in heads.values())]
    return heads, counts or list(range(1, most))


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
