"""Channel widths: a U-Net's widths times a share, rounded so that norm groups and attention heads stay valid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from condistill.errors import UserError

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
