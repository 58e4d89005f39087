"""Pipelines without a condition, or whose noise is no Gaussian process of x_t: they are refused by name."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import UNet2DModel

from tests.tiny.case import Case
from tests.tiny.kandinsky import movq
from tests.tiny.parts import mask, picture, seeded


def pixels(kind: str, scheduler: Any, **more: Any) -> Any:
    """An unconditional U-Net over 16 x 16 pixels, in the pipeline of that name."""
    with seeded():
        network = UNet2DModel(
            sample_size=16,
            in_channels=3,
            out_channels=3,
            block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
        )
    return getattr(diffusers, kind)(unet=network.eval(), scheduler=scheduler, **more)


CASES = (
    Case("score-sde-ve", "unconditional", partial(pixels, "ScoreSdeVePipeline", diffusers.ScoreSdeVeScheduler())),
    Case("karras-ve", "unconditional", partial(pixels, "KarrasVePipeline", diffusers.KarrasVeScheduler())),
    Case(
        "repaint",
        "unconditional",
        partial(pixels, "RePaintPipeline", diffusers.RePaintScheduler()),
        lambda: {"image": picture(), "mask_image": mask(), "jump_length": 2, "jump_n_sample": 2},
    ),
    Case(
        "ldm-unconditional",
        "unconditional",
        lambda: pixels("LDMPipeline", diffusers.DDIMScheduler(), vqvae=movq()),
    ),
)
