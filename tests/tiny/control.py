"""U-Nets that something steers: ControlNet and T2I-Adapter."""

from __future__ import annotations

from functools import partial
from typing import Any

from diffusers import ControlNetModel, T2IAdapter

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, sd_like, sdxl_like, seeded, small
from tests.tiny.pipelines import sd, sdxl

_EMBEDDING = {"conditioning_embedding_out_channels": (4, 8)}


def steered(kind: str) -> Any:
    """The SD pipeline with that end of a name and a ControlNet made from its U-Net."""
    with seeded():
        network = awake(ControlNetModel.from_unet(sd().unet, **_EMBEDDING))
    return sd_like("StableDiffusion" + kind, controlnet=network)


def steered_xl(kind: str) -> Any:
    """The SDXL pipeline with that end of a name and a ControlNet made from its U-Net."""
    with seeded():
        network = awake(ControlNetModel.from_unet(sdxl().unet, **_EMBEDDING))
    return sdxl_like("StableDiffusionXL" + kind, controlnet=network)


def steered_twice() -> Any:
    """SD with two ControlNets, each with a picture and a weight of its own."""
    with seeded():
        nets = [awake(ControlNetModel.from_unet(sd().unet, **_EMBEDDING)) for _ in range(2)]
    return sd_like("StableDiffusionControlNetPipeline", controlnet=nets)


def adapted() -> Any:
    """SD with an adapter whose features have the channels of the U-Net's four stages."""
    with seeded():
        adapter = T2IAdapter(
            channels=[16, 16, 32, 32], num_res_blocks=1, downscale_factor=2, adapter_type="full_adapter"
        )
    return sd_like("StableDiffusionAdapterPipeline", adapter=awake(adapter), without=("image_encoder",))


_control = partial(small, "image")
_change = partial(small, "image", "control_image", strength=1.0)
_paint = partial(small, "image", "mask_image", "control_image", strength=1.0)

CASES = (
    Case("sd-controlnet", "control", partial(steered, "ControlNetPipeline"), _control),
    Case(
        "sd-controlnet-two",
        "control",
        steered_twice,
        lambda: small(image=[picture(), picture()], controlnet_conditioning_scale=[0.5, 1.0]),
    ),
    Case("sd-controlnet-img2img", "control", partial(steered, "ControlNetImg2ImgPipeline"), _change),
    Case("sd-controlnet-inpaint", "control", partial(steered, "ControlNetInpaintPipeline"), _paint),
    Case("sd-controlnet-pag", "control", partial(steered, "ControlNetPAGPipeline"), _control),
    Case("sd-controlnet-pag-inpaint", "control", partial(steered, "ControlNetPAGInpaintPipeline"), _paint),
    Case("sdxl-controlnet", "control", partial(steered_xl, "ControlNetPipeline"), _control),
    Case("sdxl-controlnet-img2img", "control", partial(steered_xl, "ControlNetImg2ImgPipeline"), _change),
    Case("sdxl-controlnet-inpaint", "control", partial(steered_xl, "ControlNetInpaintPipeline"), _paint),
    Case("sdxl-controlnet-pag", "control", partial(steered_xl, "ControlNetPAGPipeline"), _control),
    Case(
        "sdxl-controlnet-pag-img2img",
        "control",
        partial(steered_xl, "ControlNetPAGImg2ImgPipeline"),
        _change,
    ),
    # One key at a time: its features are not repeated for a second prompt.
    Case("sd-adapter", "control", adapted, _control),
)
