"""Tiny video transformers that are given pictures or a video: CogVideoX and LTX."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import LTXEulerAncestralRFScheduler
from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

from tests.tiny.case import Case
from tests.tiny.parts import picture, seeded
from tests.tiny.videos import clip, cogvideox, ltx


def frames(count: int = 9, side: int = 16) -> list[Any]:
    """A video of one picture that turns."""
    return [picture(side).rotate(90 * k) for k in range(count)]


def given(frame_count: int = 9, side: int = 16, **more: Any) -> dict[str, Any]:
    """Call arguments of a short and small video that something is given for; its length may follow from that."""
    found = {**clip(frame_count, side), **more}
    return {name: value for name, value in found.items() if value is not None}


def ltx_long() -> Any:
    """LTX in windows, one prompt each, by a scheduler of its own."""
    made = ltx("LTXI2VLongMultiPromptPipeline")
    made.register_modules(scheduler=LTXEulerAncestralRFScheduler())
    return made


def ltx_upsample() -> Any:
    """LTX's upsampler of latents: one pass, no noise."""
    with seeded():
        network = LTXLatentUpsamplerModel(in_channels=8, mid_channels=32, num_blocks_per_stage=1)
    return diffusers.LTXLatentUpsamplePipeline(vae=ltx().vae, latent_upsampler=network.eval())


CASES = (
    Case(
        "cogvideox-image2video",
        "video",
        partial(cogvideox, "CogVideoXImageToVideoPipeline", 8),
        lambda: given(image=picture()),
    ),
    Case(
        "cogvideox-video2video",
        "video",
        partial(cogvideox, "CogVideoXVideoToVideoPipeline"),
        lambda: given(video=frames(), num_frames=None),
    ),
    Case(
        "cogvideox-fun-control",
        "video",
        partial(cogvideox, "CogVideoXFunControlPipeline", 8),
        lambda: given(control_video=frames(), num_frames=None),
    ),
    Case(
        "ltx-image2video",
        "video",
        partial(ltx, "LTXImageToVideoPipeline"),
        lambda: given(9, 32, image=picture(32)),
    ),
    Case("ltx-condition", "video", partial(ltx, "LTXConditionPipeline"), lambda: given(9, 32, image=picture(32))),
    Case("ltx-long-multi-prompt", "video", ltx_long, lambda: given(9, 32, cond_image=picture(32), cond_strength=1.0)),
    Case("ltx-latent-upsample", "video", ltx_upsample, lambda: dict(height=32, width=32, video=frames(9, 32))),
)
