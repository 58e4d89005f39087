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

    Where heads are given per stage (SD 2.x, SDXL) their number shrinks if it can, so their size stays; otherwise
    the number stays and each becomes narrower. SD 1.x writes `attention_head_dim: 8` and means 8 heads, which stay.

    Raises:
        UserError: no valid width close enough; names those that are possible.
    """
    widths = list(config["block_out_channels"])
    heads, scaled = _heads(config, width, len(widths))
    units = [math.lcm(config.get("norm_num_groups") or 1, count or 1) for count in heads]
    found = [_rounded(channels, width, unit) for channels, unit in zip(widths, units, strict=True)]
    for channels, unit, got in zip(widths, units, found, strict=True):
        if got <= 0 or abs(got - channels * width) > ROUNDING * channels * width:
            possible = ", ".join(f"{k * unit / channels:.3g}" for k in range(1, channels // unit + 1)) or "none"
            raise UserError(
                f"width={width:g} of {channels} channels is {channels * width:g}; multiples of {unit} are wanted "
                f"(norm groups and heads); possible widths here: {possible}"
            )
    if found == widths:
        raise UserError(f"width={width:g} cuts nothing from widths {widths}; give a smaller width")
    notes = tuple(
        f"width {channels} x {width:g} = {channels * width:g} rounded to {got}, a multiple of {unit}"
        for channels, unit, got in zip(widths, units, found, strict=True)
        if got != channels * width
    )
    student = {**config, "block_out_channels": found}
    if scaled:
        student["attention_head_dim"] = heads
    return student, notes


def _heads(config: Mapping[str, Any], width: float, stages: int) -> tuple[list[int], bool]:
    given = config.get("num_attention_heads") or config.get("attention_head_dim") or 1
    if isinstance(given, int):
        return [given] * stages, False
    wanted = [count * width for count in given]
    if all(abs(count - round(count)) < 1e-6 for count in wanted):
        return [round(count) for count in wanted], True
    return list(given), False


def _rounded(channels: int, width: float, unit: int) -> int:
    return math.floor(channels * width / unit + 0.5) * unit
