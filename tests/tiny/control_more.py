"""More that steers a U-Net: SDXL's adapter, ControlNetUnion, ControlNet-XS."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import ControlNetUnionModel, ControlNetXSAdapter, T2IAdapter

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, sd_like, sdxl_like, seeded, small
from tests.tiny.pipelines import sd, sdxl

_EMBEDDING: dict[str, Any] = {"conditioning_embedding_out_channels": (4, 8)}


def adapted() -> Any:
    """SDXL with an adapter whose features have the sizes that its U-Net's stages have."""
    with seeded():
        adapter = T2IAdapter(
            channels=[16, 32, 32, 32], num_res_blocks=1, downscale_factor=4, adapter_type="full_adapter_xl"
        )
    return diffusers.StableDiffusionXLAdapterPipeline(**sdxl().components, adapter=awake(adapter))


def union(kind: str) -> Any:
    """SDXL with one ControlNet for many kinds of control."""
    with seeded():
        start = ControlNetUnionModel.from_unet(sdxl().unet, **_EMBEDDING)
        sizes = dict(num_trans_channel=16, num_trans_head=2, num_proj_channel=16)
        network = awake(ControlNetUnionModel.from_config(start.config, **sizes))
    return sdxl_like("StableDiffusionXLControlNetUnion" + kind, controlnet=network)


def loaded(pipeline: Any) -> Any:
    """The pipeline with its U-Net as loading it makes it, which has other norm groups than joining the parts."""
    joined = pipeline.unet
    network = type(joined).from_config(joined.config)
    network.load_state_dict(joined.state_dict())
    pipeline.register_modules(unet=network.eval())
    return pipeline


def small_control() -> Any:
    """SD with a ControlNet-XS, whose blocks talk to the U-Net's: together they are the denoiser."""
    with seeded():
        network = awake(ControlNetXSAdapter.from_unet(sd().unet, size_ratio=0.5, **_EMBEDDING))
    made = sd_like("StableDiffusionControlNetXSPipeline", controlnet=network, without=("image_encoder",))
    return loaded(made)


def small_control_xl() -> Any:
    """SDXL with a ControlNet-XS."""
    with seeded():
        network = awake(ControlNetXSAdapter.from_unet(sdxl().unet, size_ratio=0.5, **_EMBEDDING))
    without = ("image_encoder",)
    made = sdxl_like("StableDiffusionXLControlNetXSPipeline", controlnet=network, without=without)
    return loaded(made)


def hinted(*pictures: str, **more: Any) -> dict[str, Any]:
    """Call arguments: a list of one control picture, and which kind of control it is."""
    return small(*pictures, control_image=[picture()], control_mode=[2], **more)


CASES = (
    # One key at a time: the adapter's features are not repeated for a second prompt.
    Case("sdxl-adapter", "control", adapted, partial(small, "image")),
    Case("sdxl-controlnet-union", "control", partial(union, "Pipeline"), hinted),
    Case(
        "sdxl-controlnet-union-img2img",
        "control",
        partial(union, "Img2ImgPipeline"),
        partial(hinted, "image", strength=1.0),
    ),
    Case(
        "sdxl-controlnet-union-inpaint",
        "control",
        partial(union, "InpaintPipeline"),
        partial(hinted, "image", "mask_image", strength=1.0),
    ),
    Case("sd-controlnet-xs", "control", small_control, partial(small, "image", size=32)),
    Case("sdxl-controlnet-xs", "control", small_control_xl, partial(small, "image", size=32)),
)
