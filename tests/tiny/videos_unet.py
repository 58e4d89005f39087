"""Tiny video pipelines on Stable Diffusion's components: 3-D and motion U-Nets."""

from __future__ import annotations

from typing import Any

from diffusers import MotionAdapter, UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, sd_like, seeded
from tests.tiny.pipelines import unet_config

CHECKER = ("safety_checker", "feature_extractor", "image_encoder")
CLIP = dict(height=16, width=16, num_frames=4)


def text_to_video(kind: str = "TextToVideoSDPipeline") -> Any:
    """ModelScope's text to video: a 3-D U-Net of two stages, stepped frame by frame."""
    with seeded():
        unet = UNet3DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        )
    return sd_like(kind, without=CHECKER, unet=awake(unet).eval())


def animate_diff(kind: str = "AnimateDiffPipeline") -> Any:
    """AnimateDiff: a U-Net with motion modules, the prompt repeated for every frame."""
    with seeded():
        adapter = MotionAdapter(
            block_out_channels=(16, 16, 32, 32),
            motion_layers_per_block=2,
            motion_norm_num_groups=4,
            motion_num_attention_heads=2,
            motion_max_seq_length=8,
        )
        flat = UNet2DConditionModel(**unet_config())
        unet = awake(UNetMotionModel.from_unet2d(flat, adapter)).eval()
    return sd_like(kind, without=("safety_checker",), unet=unet, motion_adapter=adapter)


def clip() -> list[Any]:
    """Four frames."""
    return [picture() for _ in range(4)]


CASES = (
    Case("text-to-video-sd", "video", text_to_video, lambda: dict(CLIP)),
    Case("animate-diff", "video", animate_diff, lambda: dict(CLIP)),
    Case(
        "animate-diff-video2video", "video", lambda: animate_diff("AnimateDiffVideoToVideoPipeline"),
        lambda: dict(height=16, width=16, video=[clip()]),
    ),
)  # fmt: skip
