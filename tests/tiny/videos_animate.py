"""Wan Animate: a person of a picture moves as a pose video and a face video do."""

from __future__ import annotations

from typing import Any

from diffusers import WanAnimateTransformer3DModel

from tests.tiny.case import Case
from tests.tiny.parts import picture, processor, seeded
from tests.tiny.videos_wan import frames, network, vision, wan_like


def animate() -> Any:
    """Wan Animate, 4 blocks; into the first one of each two goes what the face does."""
    with seeded():
        transformer = network(
            WanAnimateTransformer3DModel,
            in_channels=36,
            latent_channels=16,
            image_dim=16,
            motion_encoder_channel_sizes={"4": 8, "8": 8, "16": 8},
            motion_encoder_size=16,
            motion_style_dim=8,
            motion_dim=4,
            motion_encoder_dim=16,
            face_encoder_hidden_dim=16,
            face_encoder_num_heads=2,
            inject_face_latents_blocks=2,
        )
        return wan_like("WanAnimatePipeline", transformer, image_encoder=vision(), image_processor=processor())


def moved(**more: Any) -> dict[str, Any]:
    """Call arguments: a picture, and frames of what steers it."""
    size = dict(height=16, width=16, segment_frame_length=5, max_sequence_length=16)
    return {**size, "image": picture(), "pose_video": frames(), "face_video": frames(), **more}


def _replaced() -> dict[str, Any]:
    return moved(mode="replace", background_video=frames(), mask_video=frames())


CASES = (
    Case("wan-animate", "video", animate, moved),
    Case("wan-animate-replace", "video", animate, _replaced),
)
