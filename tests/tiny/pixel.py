"""U-Nets without a text: DDPM, which has nothing to condition on."""

from __future__ import annotations

from typing import Any

from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from tests.tiny.case import Case
from tests.tiny.parts import seeded


def ddpm() -> Any:
    """An unconditional DDPM on pictures of 8 x 8."""
    with seeded():
        network = UNet2DModel(
            sample_size=8,
            layers_per_block=1,
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
        )
        return DDPMPipeline(unet=network.eval(), scheduler=DDPMScheduler())


# The pipeline takes no key: a recording of it is to be refused.
CASES = (Case("ddpm-unconditional", "unconditional", ddpm),)
