"""U-Nets from before Stable Diffusion: the first latent diffusion model, and DeepFloyd IF on pixels."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers.pipelines.deepfloyd_if import IFWatermarker
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

from tests.tiny.case import Case
from tests.tiny.parts import seeded, small, unet
from tests.tiny.pipelines import sd, tokenizer
from tests.tiny.texts import t5, t5_tokenizer


def latent() -> Any:
    """The first text-to-image latent diffusion model; its text encoder was trained with it."""
    sizes = dict(d_model=16, encoder_layers=1, encoder_ffn_dim=32, encoder_attention_heads=2, head_dim=8)
    base, words = sd().components, tokenizer()
    with seeded():
        encoder = LDMBertModel(LDMBertConfig(vocab_size=len(words), max_position_embeddings=77, **sizes)).eval()
    parts = {name: base[name] for name in ("unet", "scheduler")}
    return diffusers.LDMTextToImagePipeline(vqvae=base["vae"], bert=encoder, tokenizer=words, **parts)


def latent_upscaler() -> Any:
    """The latent diffusion model that enlarges a picture, which is the key; no text."""
    with seeded():
        network = diffusers.UNet2DModel(
            in_channels=6,
            out_channels=3,
            layers_per_block=2,
            block_out_channels=(16, 16, 32),
            down_block_types=("DownBlock2D",) + ("AttnDownBlock2D",) * 2,
            up_block_types=("AttnUpBlock2D",) * 2 + ("UpBlock2D",),
            norm_num_groups=4,
        )
        codes = diffusers.VQModel(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
        )
        scheduler = diffusers.DDIMScheduler(clip_sample=False)
        return diffusers.LDMSuperResolutionPipeline(vqvae=codes.eval(), unet=network.eval(), scheduler=scheduler)


def views() -> tuple[dict[str, Any], ...]:
    """Three keys: pictures as tensors."""
    with seeded(3):
        return tuple({"image": one.clone()} for one in torch.rand(3, 1, 3, 16, 16) * 2 - 1)


def pixel_unet(*, upscaling: bool) -> Any:
    """IF's U-Net: text tokens are added to the keys of self-attention, and the text to the time."""
    more: dict[str, Any] = dict(in_channels=6, class_embed_type="timestep") if upscaling else dict(in_channels=3)
    return unet(
        **more,
        sample_size=16,
        out_channels=6,
        block_out_channels=(16, 32, 32),
        down_block_types=("ResnetDownsampleBlock2D",) + ("SimpleCrossAttnDownBlock2D",) * 2,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D",) * 2 + ("ResnetUpsampleBlock2D",),
        attention_head_dim=8,
        encoder_hid_dim=16,
        cross_attention_dim=32,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
    )


def deepfloyd(kind: str) -> Any:
    """The IF pipeline of that name; super-resolution knows how noisy its small picture was made."""
    upscaling = "SuperResolution" in kind
    betas: dict[str, Any] = dict(beta_schedule="squaredcos_cap_v2")
    # This class alone takes its watermarker for required when it is loaded.
    mark = IFWatermarker() if kind == "IFImg2ImgSuperResolutionPipeline" else None
    more = {"image_noising_scheduler": diffusers.DDPMScheduler(**betas)} if upscaling else {}
    with seeded():
        return getattr(diffusers, kind)(
            tokenizer=t5_tokenizer(77),
            text_encoder=t5(),
            unet=pixel_unet(upscaling=upscaling),
            scheduler=diffusers.DDPMScheduler(**betas, variance_type="learned_range"),
            safety_checker=None,
            feature_extractor=None,
            watermarker=mark,
            requires_safety_checker=False,
            **more,
        )


_change = partial(small, "image", size=None, strength=1.0)
_paint = partial(small, "image", "mask_image", size=None, strength=1.0)
# Arrays are not watermarked; the mark does not fit on pictures this small.
_sharper = partial(small, "image", "original_image", size=None, strength=1.0, output_type="np")
_sharper_paint = partial(small, "image", "original_image", "mask_image", size=None, strength=1.0)

CASES = (
    Case("ldm-text", "U-Net", latent, partial(small, guidance_scale=3.0)),
    # One key at a time: the pipeline takes one tensor, not a list.
    Case("ldm-superresolution", "upscaling", latent_upscaler, keys=views()),
    Case("if", "pixels", partial(deepfloyd, "IFPipeline"), small),
    # One key at a time from here on: these want as many pictures as prompts.
    Case("if-superresolution", "pixels", partial(deepfloyd, "IFSuperResolutionPipeline"), partial(small, "image")),
    Case("if-img2img", "pixels", partial(deepfloyd, "IFImg2ImgPipeline"), _change),
    Case("if-inpaint", "pixels", partial(deepfloyd, "IFInpaintingPipeline"), _paint),
    Case("if-img2img-superresolution", "pixels", partial(deepfloyd, "IFImg2ImgSuperResolutionPipeline"), _sharper),
    Case(
        "if-inpaint-superresolution",
        "pixels",
        partial(deepfloyd, "IFInpaintingSuperResolutionPipeline"),
        _sharper_paint,
    ),
)
