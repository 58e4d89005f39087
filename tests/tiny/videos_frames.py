"""Tiny U-Net pipelines that draw frames from a picture or under control: SVD, I2VGen-XL, PIA, AnimateDiff."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLTemporalDecoder,
    ControlNetModel,
    EulerDiscreteScheduler,
    I2VGenXLUNet,
    MotionAdapter,
    SparseControlNetModel,
    UNet2DConditionModel,
    UNetMotionModel,
    UNetSpatioTemporalConditionModel,
)
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, processor, sd_like, seeded, vision
from tests.tiny.pipelines import sdxl, unet_config
from tests.tiny.videos_unet import CLIP, clip, text_to_video

STAGES: dict[str, Any] = dict(
    block_out_channels=(16, 32),
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
)
BLOCKS: dict[str, Any] = dict(
    block_out_channels=(8, 16),
    layers_per_block=2,
    cross_attention_dim=16,
)


def stable_video() -> Any:
    """Stable Video Diffusion: the picture beside x_t and embedded, guidance that grows from frame to frame."""
    with seeded():
        unet = UNetSpatioTemporalConditionModel(
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24,
            num_attention_heads=(2, 2),
            num_frames=4,
            sample_size=8,
            **{**BLOCKS, "block_out_channels": (32, 32)},
        )
        vae = AutoencoderKLTemporalDecoder(
            down_block_types=("DownEncoderBlock2D",) * 2,
            block_out_channels=(32, 32),
            force_upcast=False,
        )
        sizes = dict(hidden_size=16, intermediate_size=32, projection_dim=16, image_size=224, patch_size=112)
        config = CLIPVisionConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)
        return diffusers.StableVideoDiffusionPipeline(
            vae=vae.eval(),
            image_encoder=CLIPVisionModelWithProjection(config).eval(),
            unet=awake(unet),
            scheduler=EulerDiscreteScheduler(
                beta_schedule="scaled_linear",
                prediction_type="v_prediction",
                timestep_type="continuous",
                timestep_spacing="leading",
                sigma_min=0.002,
                sigma_max=700.0,
                use_karras_sigmas=True,
            ),
            feature_extractor=CLIPImageProcessor(size={"shortest_edge": 224}),
        )


def i2vgen() -> Any:
    """I2VGen-XL: a picture's latents and its embedding beside the prompt."""
    with seeded():
        unet = I2VGenXLUNet(
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            num_attention_heads=2,
            attention_head_dim=4,
            norm_num_groups=4,
            sample_size=8,
            **BLOCKS,
        )
    eyes = dict(image_encoder=vision(), feature_extractor=processor())
    return sd_like("I2VGenXLPipeline", without=("safety_checker",), unet=awake(unet), **eyes)


def motion(conv_in: int | None = None, **config: Any) -> dict[str, Any]:
    """Motion modules and the U-Net of two stages that has them, for frames of four channels (or `conv_in`)."""
    with seeded():
        adapter = MotionAdapter(
            block_out_channels=(16, 32),
            motion_layers_per_block=2,
            motion_norm_num_groups=4,
            motion_num_attention_heads=2,
            motion_max_seq_length=8,
            conv_in_channels=conv_in,
        )
        flat = UNet2DConditionModel(**unet_config(**{**STAGES, **config}))
        return dict(unet=awake(UNetMotionModel.from_unet2d(flat, adapter)), motion_adapter=adapter)


def animate(kind: str, **parts: Any) -> Any:
    """That AnimateDiff pipeline, with these further parts."""
    return sd_like(kind, without=("safety_checker",), **motion(), **parts)


def pia() -> Any:
    """PIA: a mask and a picture in five further channels."""
    return sd_like("PIAPipeline", without=("safety_checker",), **motion(9))


def animate_xl() -> Any:
    """AnimateDiff on SDXL's kind of network: pooled embedding, size ids."""
    parts = sdxl().components
    sizes = dict(projection_class_embeddings_input_dim=6 * 8 + 16, cross_attention_dim=32, use_linear_projection=True)
    added = dict(addition_embed_type="text_time", addition_time_embed_dim=8)
    return diffusers.AnimateDiffSDXLPipeline(**{**parts, **motion(**sizes, **added)})


def control() -> Any:
    """A ControlNet for single frames."""
    with seeded():
        flat = UNet2DConditionModel(**unet_config(**STAGES))
        return awake(ControlNetModel.from_unet(flat, conditioning_embedding_out_channels=(4, 8)))


def sparse_control() -> Any:
    """A ControlNet that is shown a few of the frames."""
    with seeded():
        network = SparseControlNetModel(
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
            motion_num_attention_heads=2,
            conditioning_embedding_out_channels=(4, 8),
        )
        return awake(network)


def text_to_video_zero() -> Any:
    """Stable Diffusion alone: the pipeline moves its latents and lets frames look at the first one."""
    return sd_like("TextToVideoZeroPipeline", without=("image_encoder",))


def text_to_video_zero_xl() -> Any:
    """SDXL alone, used in the same way."""
    return diffusers.TextToVideoZeroSDXLPipeline(**sdxl().components)


def named(number: int) -> dict[str, Image.Image]:
    """A key of a pipeline that takes a picture and no words."""
    return {"image": picture().rotate(90 * number)}


ZERO = dict(video_length=2, t0=0, t1=1, height=16, width=16)

CASES = (
    Case(
        "stable-video-diffusion", "video", stable_video, lambda: dict(CLIP), keys=(named(0), named(1), named(2)),
    ),
    Case("i2vgen-xl", "video", i2vgen, lambda: dict(CLIP, image=picture(), clip_skip=None)),
    Case("pia", "video", pia, lambda: dict(CLIP, image=picture())),
    Case("animate-diff-sdxl", "video", animate_xl, lambda: dict(CLIP)),
    Case("animate-diff-pag", "video", partial(animate, "AnimateDiffPAGPipeline"), lambda: dict(CLIP)),
    Case(
        "animate-diff-controlnet", "video", lambda: animate("AnimateDiffControlNetPipeline", controlnet=control()),
        lambda: dict(CLIP, conditioning_frames=clip()),
    ),
    Case(
        "animate-diff-sparse-controlnet", "video",
        lambda: animate("AnimateDiffSparseControlNetPipeline", controlnet=sparse_control()),
        lambda: dict(CLIP, conditioning_frames=clip()[:1]),
    ),
    Case(
        "animate-diff-video2video-controlnet", "video",
        lambda: animate("AnimateDiffVideoToVideoControlNetPipeline", controlnet=control()),
        lambda: dict(height=16, width=16, video=[clip()], conditioning_frames=[clip()]),
    ),
    Case(
        "text-to-video-sd-video2video", "video", partial(text_to_video, "VideoToVideoSDPipeline"),
        lambda: dict(video=clip()),
    ),
    Case("text-to-video-zero", "video", text_to_video_zero, lambda: dict(ZERO)),
    Case("text-to-video-zero-sdxl", "video", text_to_video_zero_xl, lambda: dict(ZERO)),
)  # fmt: skip
