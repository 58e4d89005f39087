"""Qwen-Image and Z-Image pipelines, which read the text of a Qwen language model."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageControlNetModel,
    QwenImageTransformer2DModel,
    ZImageControlNetModel,
    ZImageTransformer2DModel,
)

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, flow_vae, seeded, still

QWEN: dict[str, Any] = dict(
    in_channels=16,
    out_channels=4,
    num_layers=4,
    attention_head_dim=8,
    num_attention_heads=2,
    joint_attention_dim=16,
    axes_dims_rope=(4, 2, 2),
)


def qwen_vae() -> Any:
    """Qwen-Image's autoencoder, downsampling 2, 4 latent channels."""
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    ).eval()


def qwen_image(name: str, *, control: int | None = None) -> Any:
    """A Qwen-Image pipeline, 4 blocks."""
    parts: dict[str, Any] = {}
    with seeded():
        if control is not None:
            net = QwenImageControlNetModel(**{**QWEN, "num_layers": 2}, extra_condition_channels=control)
            parts["controlnet"] = awake(net)
        return getattr(diffusers, name)(
            transformer=awake(QwenImageTransformer2DModel(**QWEN)),
            vae=qwen_vae(),
            text_encoder=texts.qwen_vl(),
            tokenizer=texts.qwen_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            **parts,
        )


def z_image(name: str, *, control: int | None = None, seen: int | None = None, **parts: Any) -> Any:
    """A Z-Image pipeline, 4 blocks after one refiner each; with a ControlNet that reads `control` channels."""
    with seeded():
        if control is not None:
            sizes: dict[str, Any] = dict(dim=16, n_refiner_layers=1, n_heads=2, n_kv_heads=2, control_in_dim=control)
            net = ZImageControlNetModel(control_layers_places=[0, 2], control_refiner_layers_places=[0], **sizes)
            parts["controlnet"] = awake(net)
        transformer = ZImageTransformer2DModel(
            in_channels=4,
            dim=16,
            n_layers=4,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[4, 2, 2],
            axes_lens=[512, 32, 32],
            siglip_feat_dim=seen,
        )
        return getattr(diffusers, name)(
            transformer=awake(transformer),
            vae=flow_vae(4),
            text_encoder=texts.qwen3(),
            tokenizer=texts.qwen_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            **parts,
        )


_from = partial(still, "image", strength=1.0)
_paint = partial(still, "image", "mask_image", strength=1.0)
_long = partial(still, max_sequence_length=512)

CASES = (
    Case("qwen-image", "MMDiT", partial(qwen_image, "QwenImagePipeline"), _long),
    Case(
        "qwen-image-cfg",
        "MMDiT",
        partial(qwen_image, "QwenImagePipeline"),
        partial(_long, true_cfg_scale=3.0, negative_prompt=" "),
    ),
    Case(
        "qwen-image-img2img",
        "image to image",
        partial(qwen_image, "QwenImageImg2ImgPipeline"),
        partial(_from, max_sequence_length=512),
    ),
    Case(
        "qwen-image-inpaint",
        "inpainting",
        partial(qwen_image, "QwenImageInpaintPipeline"),
        partial(_paint, max_sequence_length=512),
    ),
    Case(
        "qwen-image-controlnet",
        "control",
        partial(qwen_image, "QwenImageControlNetPipeline", control=0),
        partial(_long, "control_image"),
        component="transformer",
    ),
    Case(
        "qwen-image-controlnet-inpaint",
        "control",
        partial(qwen_image, "QwenImageControlNetInpaintPipeline", control=4),
        partial(_long, "control_image", "control_mask"),
        component="transformer",
    ),
    Case("z-image", "single-stream DiT", partial(z_image, "ZImagePipeline"), still),
    Case("z-image-img2img", "image to image", partial(z_image, "ZImageImg2ImgPipeline"), _from),
    Case("z-image-inpaint", "inpainting", partial(z_image, "ZImageInpaintPipeline"), _paint),
    Case(
        "z-image-controlnet",
        "control",
        partial(z_image, "ZImageControlNetPipeline", control=4),
        partial(still, "control_image"),
        component="transformer",
    ),
    # One key a call: the pipeline does not repeat the picture for a list of prompts.
    Case(
        "z-image-controlnet-inpaint",
        "control",
        partial(z_image, "ZImageControlNetInpaintPipeline", control=9),
        partial(still, "control_image", "image", "mask_image"),
        component="transformer",
    ),
)
