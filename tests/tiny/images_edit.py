"""Qwen-Image pipelines that are shown a picture: editing, inpainting and layers; their encoder of texts sees it too."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    LongCatImageTransformer2DModel,
    QwenImageTransformer2DModel,
)
from transformers import PaddleOCRVLProcessor, Qwen2VLImageProcessor

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, mask, picture, seeded
from tests.tiny.mmdits_qwen import QWEN


def reader(tokenizer: Any) -> Any:
    """What makes tokens of texts and pictures for texts.qwen_vl(), of a picture 4.

    Qwen's own class sees videos too and needs torchvision for that; of texts and pictures this one makes the same.
    """
    sizes = dict(patch_size=2, merge_size=2, temporal_patch_size=2, min_pixels=8 * 8, max_pixels=8 * 8)
    return PaddleOCRVLProcessor(Qwen2VLImageProcessor(**sizes), tokenizer, chat_template=texts.TEMPLATE)


def deep_vae(channels: int = 3, latent: int = 4) -> Any:
    """An autoencoder of 32 x 32 pixels, in patches of 16: these pipelines scale pictures to 1024 pixels a side."""
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=latent,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[False] * 5,  # the pipelines count these
        patch_size=16,
        in_channels=channels * 16 * 16,
        out_channels=channels * 16 * 16,
        latents_mean=[0.0] * latent,
        latents_std=[1.0] * latent,
    ).eval()


def edit(name: str, *, channels: int = 3, latent: int = 4, **more: Any) -> Any:
    """A Qwen-Image pipeline that is given a picture of so many channels, 4 blocks."""
    with seeded():
        tokenizer = texts.qwen_tokenizer(length=1024)
        return getattr(diffusers, name)(
            transformer=awake(
                QwenImageTransformer2DModel(**{**QWEN, "in_channels": 4 * latent, "out_channels": latent}, **more)
            ),
            vae=deep_vae(channels, latent),
            text_encoder=texts.qwen_vl(),
            tokenizer=tokenizer,
            processor=reader(tokenizer),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        )


def longcat_edit() -> Any:
    """A LongCat pipeline that is given a picture, 2 double and 2 single blocks."""
    with seeded():
        sizes = dict(num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2)
        transformer = LongCatImageTransformer2DModel(
            in_channels=64, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=[4, 2, 2], **sizes
        )
        tokenizer = texts.qwen_tokenizer(length=1024)
        return diffusers.LongCatImageEditPipeline(
            transformer=awake(transformer),
            vae=AutoencoderKL(
                block_out_channels=(4,) * 6,
                down_block_types=("DownEncoderBlock2D",) * 6,
                up_block_types=("UpDecoderBlock2D",) * 6,
                norm_num_groups=2,
                layers_per_block=1,
                latent_channels=16,
                shift_factor=0.1,
                scaling_factor=0.5,
            ).eval(),
            text_encoder=texts.qwen_vl(),
            tokenizer=tokenizer,
            text_processor=reader(tokenizer),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        )


def shown(*masks: str, size: int = 128, **more: Any) -> dict[str, Any]:
    """A picture to change, and a small one wanted."""
    return {"image": picture(size), **{name: mask(size) for name in masks}, **more}


def _layered() -> dict[str, Any]:
    return {"image": picture(64).convert("RGBA"), "layers": 2, "resolution": 640}


_small = partial(shown, height=128, width=128)

CASES = (
    Case("qwen-image-edit", "editing", partial(edit, "QwenImageEditPipeline"), _small),
    Case(
        "qwen-image-edit-cfg",
        "editing",
        partial(edit, "QwenImageEditPipeline"),
        partial(_small, true_cfg_scale=3.0, negative_prompt=" "),
    ),
    Case("qwen-image-edit-plus", "editing", partial(edit, "QwenImageEditPlusPipeline"), _small),
    Case(
        "qwen-image-edit-inpaint",
        "inpainting",
        partial(edit, "QwenImageEditInpaintPipeline"),
        partial(shown, "mask_image", height=1024, width=1024, strength=1.0),
    ),
    Case("longcat-image-edit", "editing", longcat_edit, shown),
    Case(
        "qwen-image-layered",
        "editing",
        partial(
            edit,
            "QwenImageLayeredPipeline",
            channels=4,
            latent=8,
            use_additional_t_cond=True,
            use_layer3d_rope=True,
        ),
        _layered,
    ),
)
