"""Tiny SkyReels-V2 pipelines: Wan's layout, and diffusion forcing, where every frame is stepped by itself."""

from __future__ import annotations

from typing import Any

from diffusers import SkyReelsV2Transformer3DModel, UniPCMultistepScheduler

from tests.tiny.case import Case
from tests.tiny.parts import picture, processor, seeded
from tests.tiny.videos import clip
from tests.tiny.videos_wan import frames, network, vision, wan_like


def skyreels(kind: str, *, sees: bool = False) -> Any:
    """The SkyReels-V2 pipeline of that name; `sees` means a picture beside x_t.

    No frame rate is told (inject_sample_info): with one the transformer of diffusers 0.42.1 takes a single item only.
    """
    with seeded():
        changes = dict(in_channels=36, image_dim=16) if sees else {}
        transformer = network(SkyReelsV2Transformer3DModel, **changes)
        parts = dict(image_encoder=vision(), image_processor=processor()) if sees else {}
        scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0)
        return wan_like(kind, transformer, scheduler=scheduler, **parts)


FORCING = "SkyReelsV2DiffusionForcing"
CASES = (
    Case("skyreels-v2", "video", lambda: skyreels("SkyReelsV2Pipeline"), clip),
    Case(
        "skyreels-v2-i2v",
        "video",
        lambda: skyreels("SkyReelsV2ImageToVideoPipeline", sees=True),
        lambda: clip(image=picture()),
    ),
    Case("skyreels-v2-forcing", "video", lambda: skyreels(f"{FORCING}Pipeline"), lambda: clip(9)),
    Case(
        "skyreels-v2-forcing-i2v",
        "video",
        lambda: skyreels(f"{FORCING}ImageToVideoPipeline"),
        lambda: clip(9, image=picture()),
    ),
    Case(
        "skyreels-v2-forcing-v2v",
        "video",
        lambda: skyreels(f"{FORCING}VideoToVideoPipeline"),
        lambda: clip(17, video=frames(9), base_num_frames=17, overlap_history=9),
    ),
)
