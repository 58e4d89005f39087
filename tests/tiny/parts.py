"""What the U-Net pipelines share: components of SD and SDXL, a CLIP vision encoder, pictures, call arguments."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import UNet2DConditionModel
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.tiny.dits_parts import awake, mask, picture, seeded
from tests.tiny.pipelines import sd, sdxl, unet_config

__all__ = ["awake", "mask", "picture", "seeded"]


def vision(hidden: int = 16) -> Any:
    """A CLIP vision encoder with 1 layer, pictures of 16 x 16 in patches of 8."""
    config = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        projection_dim=hidden,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    return CLIPVisionModelWithProjection(config).eval()


def processor() -> Any:
    """What scales and crops a picture to the 16 x 16 of the vision encoder."""
    return CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})


def sd_like(kind: str, *, scheduler: Any = None, without: tuple[str, ...] = (), **parts: Any) -> Any:
    """The pipeline class of that name on the components of sd(), with these parts and without those."""
    with seeded():
        components = {**sd(scheduler=scheduler).components, **parts}
        components = {name: part for name, part in components.items() if name not in without}
        checked = {} if "safety_checker" in without else {"requires_safety_checker": False}
        return getattr(diffusers, kind)(**components, **checked)


def sdxl_like(kind: str, *, without: tuple[str, ...] = (), **parts: Any) -> Any:
    """The pipeline class of that name on the components of sdxl(), with these parts and without those."""
    with seeded():
        components = {**sdxl().components, **parts}
        components = {name: part for name, part in components.items() if name not in without}
        return getattr(diffusers, kind)(**components, add_watermarker=False)


def unet(**changes: Any) -> Any:
    """A U-Net of sd()'s layout with these changes."""
    with seeded():
        return UNet2DConditionModel(**unet_config(**changes)).eval()


def small(*pictures: str, size: int | None = 16, **more: Any) -> dict[str, Any]:
    """Call arguments: a small size, and a picture (or a mask) under each of the names."""
    shape = {} if size is None else {"height": size, "width": size}
    return {**shape, **{n: mask() if "mask" in n else picture() for n in pictures}, **more}
