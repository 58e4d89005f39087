"""Stable Diffusion and its kin with drawn U-Nets."""

from __future__ import annotations

from random import Random
from typing import Any

import diffusers
import torch
from diffusers import UNet2DConditionModel
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from strangers import parts, samplers
from strangers.variant import Variant

WIDTHS = (((32, 64), 32), ((4, 8), 1), ((4, 8), 2), ((8, 16, 16), 4), ((12, 24), 3), ((20, 40), 5), ((8, 8, 24, 40), 8))
DOWN = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D", "AttnDownBlock2D", "SimpleCrossAttnDownBlock2D",
        "ResnetDownsampleBlock2D", "AttnSkipDownBlock2D", "KDownBlock2D", "DownEncoderBlock2D")  # fmt: skip
UP = {"CrossAttnDownBlock2D": "CrossAttnUpBlock2D", "DownBlock2D": "UpBlock2D", "AttnDownBlock2D": "AttnUpBlock2D",
      "SimpleCrossAttnDownBlock2D": "SimpleCrossAttnUpBlock2D", "ResnetDownsampleBlock2D": "ResnetUpsampleBlock2D",
      "AttnSkipDownBlock2D": "AttnSkipUpBlock2D", "KDownBlock2D": "KUpBlock2D",
      "DownEncoderBlock2D": "UpDecoderBlock2D"}  # fmt: skip
MID = ("UNetMidBlock2DCrossAttn",) * 3 + ("UNetMidBlock2DSimpleCrossAttn", "UNetMidBlock2D", None)
# each changes one thing; a network has several of them
PLAIN: dict[str, tuple[Any, ...]] = {
    "use_linear_projection": (True,),
    "only_cross_attention": (True,),
    "dual_cross_attention": (True,),
    "upcast_attention": (True,),
    "resnet_time_scale_shift": ("scale_shift",),
    "conv_in_kernel": (1,),
    "conv_out_kernel": (1,),
    "act_fn": ("gelu", "mish", "swish"),
    "time_embedding_type": ("fourier",),
    "time_embedding_dim": (16, 40),
    "time_embedding_act_fn": ("silu",),
    "timestep_post_act": ("silu",),
    "time_cond_proj_dim": (8, 32),
    "addition_embed_type": ("text",),
    "resnet_skip_time_act": (True,),
    "resnet_out_scale_factor": (0.7,),
    "mid_block_scale_factor": (1.4,),
    "mid_block_only_cross_attention": (True,),
    "cross_attention_norm": ("layer_norm", "group_norm"),
    "downsample_padding": (0,),
    "center_input_sample": (True,),
    "flip_sin_to_cos": (False,),
    "freq_shift": (1,),
    "norm_eps": (1e-6,),
    "dropout": (0.1,),
    "attention_type": ("gated",),
    "encoder_hid_dim_type": ("text_proj",),
}


def network_config(rng: Random, hidden: int, *, in_channels: int = 4, out_channels: int = 4) -> dict[str, Any]:
    """A drawn config of UNet2DConditionModel for texts of `hidden` numbers a token."""
    widths, groups = rng.choice(WIDTHS)
    n = len(widths)
    down = [rng.choice(DOWN if rng.random() < 0.4 else DOWN[:3]) for _ in range(n)]
    up = [UP[name] for name in reversed(down)]
    if rng.random() < 0.2:
        rng.shuffle(up)
    config: dict[str, Any] = dict(
        sample_size=rng.choice((16, 32)), in_channels=in_channels, out_channels=out_channels, block_out_channels=widths,
        norm_num_groups=groups, layers_per_block=rng.choice((1, 2, 2, 3, [1 + k % 2 for k in range(n)])),
        down_block_types=down, up_block_types=up, cross_attention_dim=hidden,
        attention_head_dim=rng.choice((2, 4, [2] * n, [2, 4, 2, 4][:n])), mid_block_type=rng.choice(MID),
    )  # fmt: skip
    if rng.random() < 0.3:
        depths = rng.choice((2, 3, [1 + k % 2 for k in range(n)], [2] * n))
        config["transformer_layers_per_block"] = depths
        if isinstance(depths, list) and rng.random() < 0.3:
            config["reverse_transformer_layers_per_block"] = depths[::-1]
    for field in rng.sample(sorted(PLAIN), rng.choice((0, 1, 1, 2, 3))):
        config[field] = rng.choice(PLAIN[field])
    if config.get("only_cross_attention") and rng.random() < 0.5:
        config["only_cross_attention"] = [bool(k % 2) for k in range(n)]
    if config.get("addition_embed_type") == "text":
        config["addition_embed_type_num_heads"] = 2
    if "encoder_hid_dim_type" in config:
        config |= {"encoder_hid_dim": hidden, "cross_attention_dim": rng.choice((8, 16))}
    elif rng.random() < 0.1:
        config["cross_attention_dim"] = [hidden] * n
    return config


# pipeline -> channels of x_t beside it, pictures of a call
SD: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "StableDiffusionPipeline": ((4,), ()),
    "StableDiffusionImg2ImgPipeline": ((4,), ("image",)),
    "StableDiffusionInpaintPipeline": ((4, 9), ("image", "mask_image")),
    "StableDiffusionInstructPix2PixPipeline": ((8,), ("image",)),
    "StableDiffusionDepth2ImgPipeline": ((5,), ("image",)),
    "StableDiffusionUpscalePipeline": ((7,), ("image",)),
    "StableDiffusionSAGPipeline": ((4,), ()),
    "StableDiffusionPAGPipeline": ((4,), ()),
    "StableDiffusionPanoramaPipeline": ((4,), ()),
    "LatentConsistencyModelPipeline": ((4,), ()),
}


def sd(rng: Random, name: str, kind: str = "StableDiffusionPipeline") -> Variant:
    """Stable Diffusion of that kind with a drawn U-Net, scheduler and text encoder."""
    hidden, layers = rng.choice((8, 32, 32)), rng.choice((2, 5))
    channels, pictures = SD[kind]
    config = network_config(rng, hidden, in_channels=rng.choice(channels))
    if "Upscale" in kind:
        config |= rng.choice(({"num_class_embeds": 1000}, {"class_embed_type": "timestep"}))
    if "Consistency" in kind:
        config["time_cond_proj_dim"] = rng.choice((8, 32))
    scheduler = ("LCMScheduler", {}) if "Consistency" in kind else samplers.usual(rng)
    guidance = rng.choice((None, None, 1.0, 3.0))
    seed, is_awake = rng.randrange(1000), rng.random() < 0.3

    def build() -> Any:
        with parts.seeded(seed):
            unet = UNet2DConditionModel(**config)
            unet = parts.awake(unet) if is_awake else unet
            return _assembled(kind, unet, samplers.built(*scheduler), hidden, layers, Random(seed))

    def call() -> dict[str, Any]:
        size: dict[str, Any] = {} if pictures else {"height": 32, "width": 32}
        if "Depth" in kind:
            size = {"depth_map": torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))}
        shown = {n: parts.mask() if "mask" in n else parts.picture() for n in pictures}
        strength = (
            {"strength": 1.0} if kind.endswith(("Img2ImgPipeline", "InpaintPipeline", "Depth2ImgPipeline")) else {}
        )
        return {**size, **shown, **strength, **({} if guidance is None else {"guidance_scale": guidance})}

    drawn = {"pipeline": kind, **config, "scheduler": scheduler, "guidance": guidance, "awake": is_awake}
    return Variant(name, drawn, build, call)


def _assembled(kind: str, unet: Any, scheduler: Any, hidden: int, layers: int, rng: Random) -> Any:
    made: dict[str, Any] = dict(
        unet=unet, scheduler=scheduler, vae=parts.vae(rng=rng), text_encoder=parts.clip(hidden, layers),
        tokenizer=parts.words(),
    )  # fmt: skip
    checked = dict(safety_checker=None, feature_extractor=None, image_encoder=None, requires_safety_checker=False)
    if "Depth" in kind:
        made |= dict(depth_estimator=_depth(), feature_extractor=DPTImageProcessor(size={"height": 32, "width": 32}))
    elif "Upscale" in kind:
        made |= dict(low_res_scheduler=diffusers.DDPMScheduler(), max_noise_level=350)
    elif "Panorama" in kind or "SAG" in kind or "StableDiffusion" in kind or "Consistency" in kind:
        made |= checked
    return getattr(diffusers, kind)(**made)


def _depth() -> Any:
    config = DPTConfig(
        image_size=32,
        patch_size=16,
        hidden_size=32,
        num_hidden_layers=4,
        backbone_out_indices=(0, 1, 2, 3),
        num_attention_heads=4,
        intermediate_size=37,
        is_hybrid=False,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    return DPTForDepthEstimation(config).eval()


def sampled(rng: Random, name: str, kind: str) -> Variant:
    """Stable Diffusion with the scheduler class of that name."""
    options = samplers.drawn(rng, kind, samplers.VP)
    seed = rng.randrange(1000)
    config = dict(
        block_out_channels=(4, 8), layers_per_block=1, sample_size=16, in_channels=4, out_channels=4, norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=2,
    )  # fmt: skip

    def build() -> Any:
        with parts.seeded(seed):
            unet = UNet2DConditionModel(**config)
            scheduler = samplers.built(kind, options)
            return _assembled("StableDiffusionPipeline", unet, scheduler, 32, 2, Random(seed))

    return Variant(name, {"scheduler": kind, **options}, build, lambda: {"height": 32, "width": 32})
