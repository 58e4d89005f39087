"""U-Nets: blocks, layers, mid block and stages removed from a config, and the features that are compared.

Source: BK-SDM for the block-removed students, arXiv 2504.02011 for the taps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from condistill.errors import UserError
from condistill.students.presets import Cut
from condistill.students.ways import DEPTHS, most, unet_ways

MIN_STAGES = 2
# config fields with one entry per stage, from the outside in
_BY_STAGE = (
    "down_block_types",
    "block_out_channels",
    "layers_per_block",
    "transformer_layers_per_block",
    "cross_attention_dim",
    "attention_head_dim",
    "num_attention_heads",
    "only_cross_attention",
)
# and those from the inside out
_BY_STAGE_REVERSED = ("up_block_types", "reverse_transformer_layers_per_block")


def is_unet(config: Mapping[str, Any]) -> bool:
    """Whether the config is that of a U-Net with stages going down and up."""
    return "down_block_types" in config and "up_block_types" in config and "block_out_channels" in config


def cut_unet(config: Mapping[str, Any], cut: Cut) -> dict[str, Any]:
    """The config with blocks, layers and stages removed; widths are not touched.

    Raises:
        UserError: there is nothing to remove, or nothing would be left.
    """
    found = dict(config)
    if cut.keep and (cut.needs_unet or cut.depth < 1.0):
        stack = next(iter(cut.keep))
        raise UserError(f"got keep={stack}:... beside a preset or a depth; on a U-Net keep= goes with width= only")
    if cut.config:
        _needs_stages(config, cut.config)
        found.update(cut.config)
    if cut.layers is not None:
        found["layers_per_block"] = cut.layers
    if cut.fewer_layers:
        found["layers_per_block"] = _fewer_layers(config)
    if cut.depth < 1.0:
        found = _shallower(found, cut.depth)
    if cut.mid != "keep":
        if config.get("mid_block_type") is None:
            raise UserError(
                "this U-Net has no mid block to remove by config; choose a preset that keeps it, e.g. b-base"
            )
        found["mid_block_type"] = None if cut.mid == "drop" else "UNetMidBlock2D"
    if cut.fewer_stages:
        found = _fewer_stages(found, cut.fewer_stages)
    return found


def _needs_stages(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    stages, given = len(config["down_block_types"]), len(wanted["transformer_layers_per_block"])
    depths, down = config.get("transformer_layers_per_block", 1), config["down_block_types"]
    if stages != given or isinstance(depths, int) or "CrossAttn" in down[0]:
        layers = "choose b-base, or " if most(config.get("layers_per_block")) > 1 else ""
        raise UserError(
            f"this preset cuts an SDXL U-Net (3 stages, transformers in the inner two); got {stages} stages: "
            f"{', '.join(down)}; {layers}{unet_ways(config)}"
        )


def _fewer_layers(config: Mapping[str, Any]) -> int | list[int]:
    layers = config.get("layers_per_block")
    if most(layers) < 2:
        raise UserError(
            f"every block of this U-Net has one layer only, so none of these can be removed; {unet_ways(config)}"
        )
    return _mapped(layers, lambda count: max(1, count - 1))


def _shallower(config: Mapping[str, Any], depth: float) -> dict[str, Any]:
    found = dict(config)
    for name in DEPTHS:
        if config.get(name) is not None:
            found[name] = _mapped(config[name], lambda count: max(1, math.floor(count * depth + 0.5)))
    if all(found.get(name) == _mapped(config.get(name), int) for name in DEPTHS):
        counts = {name: config[name] for name in DEPTHS if config.get(name) is not None}
        raise UserError(f"depth={depth:g} cuts nothing from {counts}; {unet_ways(config)}")
    return found


def _fewer_stages(config: Mapping[str, Any], removed: int) -> dict[str, Any]:
    stages = len(config["down_block_types"])
    if stages - removed < MIN_STAGES:
        raise UserError(
            f"this U-Net has {stages} stages; removing the innermost would leave {stages - removed}, "
            f"{MIN_STAGES} are wanted; choose b-small, or {unet_ways(config)}"
        )
    found = dict(config)
    for name in _BY_STAGE:
        if isinstance(config.get(name), list | tuple):
            found[name] = list(config[name])[: stages - removed]
    for name in _BY_STAGE_REVERSED:
        if isinstance(config.get(name), list | tuple):
            found[name] = list(config[name])[removed:]
    return found


def unet_taps(teacher: nn.Module, student: nn.Module, *, with_mid: bool) -> list[tuple[str, str]]:
    """(teacher's module, student's module) for every block of the student.

    Where stages were removed, the student's innermost down block has lost its downsampler; its partner is the last
    layer before the teacher's downsampler.
    """
    t_down, s_down = _blocks(teacher, "down_blocks"), _blocks(student, "down_blocks")
    removed = len(t_down) - len(s_down)
    pairs = [(f"down_blocks.{k}", f"down_blocks.{k}") for k in range(len(s_down))]
    if removed:
        last = len(s_down) - 1
        pairs[last] = (_before_downsampler(t_down[last], f"down_blocks.{last}"), f"down_blocks.{last}")
    both = getattr(teacher, "mid_block", None) is not None and getattr(student, "mid_block", None) is not None
    if with_mid and both and not removed:
        pairs.append(("mid_block", "mid_block"))
    pairs += [(f"up_blocks.{k + removed}", f"up_blocks.{k}") for k in range(len(s_down))]
    return pairs


def _before_downsampler(block: nn.Module, path: str) -> str:
    for name in ("attentions", "resnets"):
        layers = getattr(block, name, None)
        if isinstance(layers, nn.ModuleList) and len(layers):
            return f"{path}.{name}.{len(layers) - 1}"
    return path


def _blocks(network: nn.Module, name: str) -> nn.ModuleList:
    found = getattr(network, name)
    assert isinstance(found, nn.ModuleList)
    return found


def _mapped(value: Any, function: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_mapped(one, function) for one in value]
    return value if value is None else function(value)
