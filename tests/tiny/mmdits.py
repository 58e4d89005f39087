"""SD3 and Flux pipelines, text to image and from images, with their ControlNets."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
)

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, flow_vae, seeded, still
from tests.tiny.pipelines import text_encoder, tokenizer

SD3: dict[str, Any] = dict(
    sample_size=8,
    in_channels=16,
    num_layers=4,
    attention_head_dim=8,
    num_attention_heads=2,
    joint_attention_dim=32,
    caption_projection_dim=16,
    pooled_projection_dim=32,
    out_channels=16,
    pos_embed_max_size=16,
)
FLUX: dict[str, Any] = dict(
    num_layers=2,
    num_single_layers=2,
    attention_head_dim=8,
    num_attention_heads=2,
    joint_attention_dim=16,
    pooled_projection_dim=16,
    axes_dims_rope=(4, 2, 2),
)


def sd3(name: str, *, control: int | None = None, dual: tuple[int, ...] = (), **more: Any) -> Any:
    """An SD3 pipeline, 4 blocks; with a ControlNet that reads `control` channels besides the latents.

    `dual` names the blocks with a second attention, as in SD 3.5, which also normalises queries and keys.
    """
    norm = {"dual_attention_layers": dual, "qk_norm": "rms_norm"} if dual else {}
    with seeded():
        if control is not None:
            net = SD3ControlNetModel(**{**SD3, "num_layers": 2}, extra_conditioning_channels=control)
            more["controlnet"] = awake(net)
        return getattr(diffusers, name)(
            transformer=awake(SD3Transformer2DModel(**SD3, **norm)),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=flow_vae(),
            text_encoder=text_encoder(projection=True),
            tokenizer=tokenizer(),
            text_encoder_2=text_encoder(projection=True),
            tokenizer_2=tokenizer(),
            text_encoder_3=texts.t5(32),
            tokenizer_3=texts.t5_tokenizer(),
            **more,
        )


def flux(name: str, *, guided: bool = False, channels: int = 16, control: bool = False, **more: Any) -> Any:
    """A Flux pipeline, 2 double and 2 single blocks; `guided` means that it is told its guidance scale."""
    sizes = {**FLUX, "guidance_embeds": guided}
    with seeded():
        if control:
            more["controlnet"] = awake(FluxControlNetModel(in_channels=16, **sizes))
        return getattr(diffusers, name)(
            transformer=awake(FluxTransformer2DModel(in_channels=channels, out_channels=16, **sizes)),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=flow_vae(4),
            text_encoder=text_encoder(),
            tokenizer=tokenizer(),
            text_encoder_2=texts.t5(),
            tokenizer_2=texts.t5_tokenizer(),
            **more,
        )


_from = partial(still, "image", strength=1.0)
_paint = partial(still, "image", "mask_image", strength=1.0)
_cfg = partial(still, true_cfg_scale=3.0, negative_prompt="")
_control = partial(still, "control_image")

CASES = (
    Case("sd3", "MMDiT", partial(sd3, "StableDiffusion3Pipeline"), still),
    Case("sd3.5", "MMDiT", partial(sd3, "StableDiffusion3Pipeline", dual=(0, 1)), still),
    Case("sd3-img2img", "image to image", partial(sd3, "StableDiffusion3Img2ImgPipeline"), _from),
    Case("sd3-inpaint", "inpainting", partial(sd3, "StableDiffusion3InpaintPipeline"), _paint),
    Case(
        "sd3-pag",
        "guidance",
        partial(sd3, "StableDiffusion3PAGPipeline", pag_applied_layers="blocks.1"),
        still,
    ),
    Case(
        "sd3-pag-img2img",
        "guidance",
        partial(sd3, "StableDiffusion3PAGImg2ImgPipeline", pag_applied_layers="blocks.1"),
        _from,
    ),
    Case(
        "sd3-controlnet",
        "control",
        partial(sd3, "StableDiffusion3ControlNetPipeline", control=0),
        _control,
        component="transformer",
    ),
    Case(
        "sd3-controlnet-inpaint",
        "control",
        partial(sd3, "StableDiffusion3ControlNetInpaintingPipeline", control=1),
        partial(still, "control_image", "control_mask"),
        component="transformer",
    ),
    Case("flux", "MMDiT", partial(flux, "FluxPipeline", guided=True), still),
    Case("flux-schnell", "MMDiT", partial(flux, "FluxPipeline"), still),
    Case("flux-true-cfg", "MMDiT", partial(flux, "FluxPipeline"), _cfg),
    Case("flux-img2img", "image to image", partial(flux, "FluxImg2ImgPipeline", guided=True), _from),
    Case("flux-inpaint", "inpainting", partial(flux, "FluxInpaintPipeline", guided=True), _paint),
    Case(
        "flux-fill",
        "inpainting",
        partial(flux, "FluxFillPipeline", guided=True, channels=16 + 16 + 16),
        _paint,
    ),
    Case("flux-control", "control", partial(flux, "FluxControlPipeline", guided=True, channels=32), _control),
    Case(
        "flux-control-img2img",
        "control",
        partial(flux, "FluxControlImg2ImgPipeline", guided=True, channels=32),
        partial(_from, "control_image"),
    ),
    Case(
        "flux-control-inpaint",
        "control",
        partial(flux, "FluxControlInpaintPipeline", guided=True, channels=32),
        partial(_paint, "control_image"),
    ),
    Case(
        "flux-controlnet",
        "control",
        partial(flux, "FluxControlNetPipeline", control=True),
        _control,
        component="transformer",
    ),
    Case(
        "flux-controlnet-img2img",
        "control",
        partial(flux, "FluxControlNetImg2ImgPipeline", control=True),
        partial(_from, "control_image"),
        component="transformer",
    ),
    Case(
        "flux-controlnet-inpaint",
        "control",
        partial(flux, "FluxControlNetInpaintPipeline", control=True),
        partial(_paint, "control_image"),
        component="transformer",
    ),
    Case(
        "flux-kontext",
        "editing",
        partial(flux, "FluxKontextPipeline", guided=True),
        partial(still, "image", max_area=256, _auto_resize=False),
    ),
    Case(
        "flux-kontext-inpaint",
        "inpainting",
        partial(flux, "FluxKontextInpaintPipeline", guided=True),
        partial(_paint, max_area=256, _auto_resize=False),
    ),
)
