"""Stable Diffusion with a U-Net: text to image, edits of pictures, guidance variants."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from tests.tiny.case import Case
from tests.tiny.parts import picture, processor, sd_like, sdxl_like, seeded, small, unet, vision
from tests.tiny.pipelines import dit, sd, sdxl

_BETAS = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def sampled(kind: str, **settings: Any) -> Any:
    """sd() with the scheduler of that name."""
    return sd(scheduler=getattr(diffusers, kind)(**_BETAS, steps_offset=1, **settings))


def edit(kind: str, channels: int, **parts: Any) -> Any:
    """A pipeline of SD whose U-Net sees more channels than it predicts."""
    return sd_like(kind, unet=unet(in_channels=channels), **parts)


def variation() -> Any:
    """Image variation: the key is a picture."""
    with seeded():
        base = sd().components
        parts = {name: base[name] for name in ("vae", "unet", "scheduler", "safety_checker")}
        return diffusers.StableDiffusionImageVariationPipeline(
            **parts, image_encoder=vision(), feature_extractor=processor(), requires_safety_checker=False
        )


def upscale() -> Any:
    """The upscaler: three channels of the small picture, its noise level as a class label."""
    parts = sd().components
    parts.pop("image_encoder")
    network = unet(in_channels=7, num_class_embeds=1000)
    low = diffusers.DDPMScheduler()
    return diffusers.StableDiffusionUpscalePipeline(**{**parts, "unet": network}, low_res_scheduler=low)


def consistency(kind: str) -> Any:
    """A latent consistency model: the guidance scale is embedded with the time."""
    return sd_like(kind, unet=unet(time_cond_proj_dim=16), scheduler=diffusers.LCMScheduler(**_BETAS))


_PICTURES = tuple({"image": picture(size)} for size in (16, 24, 32))
_change = partial(small, "image", size=None, strength=1.0)
_paint = partial(small, "image", "mask_image", strength=1.0)

CASES = (
    Case("sd", "U-Net", sd, small),
    Case("sdxl", "U-Net", sdxl, small),
    Case("dit", "DiT", dit, keys=(1, 2, 3)),
    Case(
        "sd-v-prediction",
        "U-Net",
        partial(sampled, "DDIMScheduler", prediction_type="v_prediction", clip_sample=False),
        small,
    ),
    Case("sd-pndm", "U-Net", partial(sampled, "PNDMScheduler", skip_prk_steps=True), small),
    Case("sd-euler", "U-Net", partial(sampled, "EulerDiscreteScheduler"), small),
    Case("sd-dpm", "U-Net", partial(sampled, "DPMSolverMultistepScheduler"), small),
    Case("sd-lms", "U-Net", partial(sampled, "LMSDiscreteScheduler"), small),
    Case("sd-img2img", "image to image", partial(sd_like, "StableDiffusionImg2ImgPipeline"), _change),
    Case("sd-inpaint", "inpainting", partial(sd_like, "StableDiffusionInpaintPipeline"), _paint),
    Case("sd-inpaint-9", "inpainting", partial(edit, "StableDiffusionInpaintPipeline", 9), _paint),
    Case("sd-variation", "image condition", variation, small, keys=_PICTURES),
    # One key at a time: the small picture is not repeated for a second prompt.
    Case("sd-upscale", "upscaling", upscale, partial(small, "image", size=None)),
    Case(
        "sd-instruct-pix2pix",
        "editing",
        partial(edit, "StableDiffusionInstructPix2PixPipeline", 8),
        partial(small, "image", size=None),
    ),
    Case("sd-pag", "guidance", partial(sd_like, "StableDiffusionPAGPipeline"), small),
    Case("sd-pag-img2img", "guidance", partial(sd_like, "StableDiffusionPAGImg2ImgPipeline"), _change),
    Case("sd-pag-inpaint", "guidance", partial(sd_like, "StableDiffusionPAGInpaintPipeline"), _paint),
    Case("sd-sag", "guidance", partial(sd_like, "StableDiffusionSAGPipeline"), small),
    Case("sd-panorama", "guidance", partial(sd_like, "StableDiffusionPanoramaPipeline"), small),
    Case(
        "sd-semantic",
        "guidance",
        partial(sd_like, "SemanticStableDiffusionPipeline", without=("image_encoder",)),
        small,
    ),
    Case("lcm", "consistency", partial(consistency, "LatentConsistencyModelPipeline"), small),
    Case("lcm-img2img", "consistency", partial(consistency, "LatentConsistencyModelImg2ImgPipeline"), _change),
    Case("sdxl-img2img", "image to image", partial(sdxl_like, "StableDiffusionXLImg2ImgPipeline"), _change),
    Case("sdxl-inpaint", "inpainting", partial(sdxl_like, "StableDiffusionXLInpaintPipeline"), _paint),
    Case("sdxl-pag", "guidance", partial(sdxl_like, "StableDiffusionXLPAGPipeline"), small),
    Case("sdxl-pag-img2img", "guidance", partial(sdxl_like, "StableDiffusionXLPAGImg2ImgPipeline"), _change),
    Case("sdxl-pag-inpaint", "guidance", partial(sdxl_like, "StableDiffusionXLPAGInpaintPipeline"), _paint),
)
