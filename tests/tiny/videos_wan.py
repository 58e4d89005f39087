"""Tiny Wan pipelines that are given pictures or videos: image to video, first and last frame, VACE, video to video."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanTransformer3DModel,
    WanVACETransformer3DModel,
)
from transformers import CLIPVisionConfig, CLIPVisionModel

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, processor, seeded
from tests.tiny.texts import t5_tokenizer, umt5
from tests.tiny.videos import clip


def vision() -> Any:
    """A CLIP vision encoder with 2 layers, of which Wan takes the last but one."""
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    return CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=16, patch_size=8)).eval()


def wan_vae() -> Any:
    """Wan's autoencoder: 8 x 8 pixels and 4 frames to one latent."""
    return AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval()


def network(cls: Any = WanTransformer3DModel, *, without: tuple[str, ...] = (), **changes: Any) -> Any:
    """A Wan transformer of 4 blocks, or one of its kin that lacks some of the fields."""
    config = dict(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=16,
        freq_dim=32,
        ffn_dim=32,
        num_layers=4,
        rope_max_seq_len=32,
    )
    config = {name: value for name, value in config.items() if name not in without}
    return awake(cls(**{**config, **changes})).eval()


def wan_like(kind: str, transformer: Any = None, **more: Any) -> Any:
    """The pipeline class of that name on Wan's text encoder and autoencoder."""
    with seeded():
        return getattr(diffusers, kind)(
            tokenizer=t5_tokenizer(16),
            text_encoder=umt5(),
            vae=more.pop("vae", None) or wan_vae(),
            scheduler=more.pop("scheduler", None) or FlowMatchEulerDiscreteScheduler(shift=3.0),
            transformer=transformer or network(),
            **more,
        )


def image_to_video(kind: str = "WanImageToVideoPipeline", *, embedded: bool = True, **changes: Any) -> Any:
    """Wan 2.1: the picture as channels beside x_t and as tokens; `embedded=False` is Wan 2.2, without the tokens."""
    with seeded():
        dims = dict(image_dim=16) if embedded else {}
        parts = dict(image_encoder=vision(), image_processor=processor()) if embedded else {}
        return wan_like(kind, network(in_channels=36, **dims, **changes), **parts)


def ti2v() -> Any:
    """Wan 2.2's 5 B layout: the given frame stands in x_t itself and has time 0."""
    with seeded():
        vae = AutoencoderKLWan(
            base_dim=4,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
        ).eval()
        return wan_like("WanImageToVideoPipeline", vae=vae, expand_timesteps=True)


def vace() -> Any:
    """VACE: a second stack of blocks reads the video, the mask and the pictures."""
    with seeded():
        transformer = network(WanVACETransformer3DModel, vace_layers=[0, 2], vace_in_channels=96)
    return wan_like("WanVACEPipeline", transformer)


def frames(count: int = 5, side: int = 16) -> list[Any]:
    """A short video."""
    return [picture().resize((side, side)) for _ in range(count)]


CASES = (
    Case("wan-image-to-video", "video", image_to_video, lambda: clip(image=picture())),
    Case(
        "wan-first-last-frame",
        "video",
        lambda: image_to_video(pos_embed_seq_len=5 * 2),
        lambda: clip(image=picture(), last_image=picture()),
    ),
    Case("wan-2.2-image-to-video", "video", lambda: image_to_video(embedded=False), lambda: clip(image=picture())),
    Case("wan-2.2-ti2v", "video", ti2v, lambda: clip(image=picture(), side=32)),
    Case("wan-vace", "video", vace, lambda: clip(video=frames(), mask=frames(), reference_images=[picture()])),
    Case(
        "wan-video-to-video",
        "video",
        lambda: wan_like("WanVideoToVideoPipeline"),
        lambda: dict(video=frames(), height=16, width=16, max_sequence_length=16),
    ),
)
