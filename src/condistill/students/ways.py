"""What can still be cut where one cut cannot be made, so that every suggestion is one that works."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# a width may be off the wanted one by this share of it through rounding (SD's 320 x 0.75 = 240 becomes 256)
ROUNDING = 0.1
DEPTHS = ("layers_per_block", "transformer_layers_per_block", "reverse_transformer_layers_per_block")
NOTHING = "nothing of this network can be cut; depth=1.0 keeps it whole"


def unet_ways(config: Mapping[str, Any]) -> str:
    """The depth and the widths that cut this U-Net, or that there are none.

    >>> unet_ways({"block_out_channels": [32, 64], "layers_per_block": 1, "norm_num_groups": 16})
    'try width=0.5'
    >>> unet_ways({"block_out_channels": [32, 64], "layers_per_block": 1, "norm_num_groups": 32})
    'nothing of this network can be cut; depth=1.0 keeps it whole'
    """
    return ways(
        deeper=any(most(config[name]) > 1 for name in DEPTHS if config.get(name) is not None),
        shares=_unet_shares(config),
    )


def ways(*, deeper: bool, shares: Sequence[str]) -> str:
    """A suggestion made of depth, where blocks can go, and of the shares of the width that are possible."""
    found = ["depth=0.5"] * deeper + [f"width={', '.join(shares)}"] * bool(shares)
    return f"try {' or '.join(found)}" if found else NOTHING


def most(value: Any) -> int:
    """The largest number in a config's field, which may be nested.

    >>> most([1, [2, 10]])
    10
    """
    return max(map(most, value), default=0) if isinstance(value, list | tuple) else value or 0


def rounded(channels: int, width: float, unit: int) -> int | None:
    """The multiple of `unit` next to this share of the channels; None where it is too far from it."""
    wanted = channels * width
    got = math.floor(wanted / unit + 0.5) * unit
    return got if got > 0 and abs(got - wanted) <= ROUNDING * wanted else None


def heads_that_fit(before: int, after: int, heads: int) -> list[int]:
    """Numbers of heads, at most as many, that the narrowed channels split into without heads larger than before."""
    size = before // heads
    return [h for h in range(1, heads + 1) if after % h == 0 and after // h <= size]


def heads_of(config: Mapping[str, Any]) -> tuple[str, int | Sequence[int]]:
    """The field that says how many heads a U-Net has, and what it says."""
    field = "num_attention_heads" if config.get("num_attention_heads") else "attention_head_dim"
    return field, config.get(field) or 1


def unit_of(config: Mapping[str, Any]) -> int:
    """What every width of a U-Net is a multiple of."""
    _, heads = heads_of(config)
    return math.lcm(config.get("norm_num_groups", 32) or 1, heads if isinstance(heads, int) else 1)


def _unet_shares(config: Mapping[str, Any]) -> list[str]:
    widths, unit = list(config["block_out_channels"]), unit_of(config)
    smallest = min(widths)
    shares = [f"{k * unit / smallest:.3g}" for k in range(1, (smallest - 1) // unit + 1)]
    return [share for share in shares if _fits(config, widths, [rounded(c, float(share), unit) for c in widths])]


def _fits(config: Mapping[str, Any], widths: list[int], found: list[int | None]) -> bool:
    _, heads = heads_of(config)
    if isinstance(heads, int):
        return None not in found and found != widths
    each = zip(widths, found, heads, strict=True)
    return found != widths and all(after and heads_that_fit(before, after, count) for before, after, count in each)
