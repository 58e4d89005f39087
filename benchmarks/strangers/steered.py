"""SDXL in its forms, and U-Nets with something beside them: ControlNets, adapters, motion modules."""

from __future__ import annotations

from random import Random
from typing import Any

import diffusers
from diffusers import ControlNetModel, MotionAdapter, MultiAdapter, T2IAdapter, UNet2DConditionModel

from strangers import parts, samplers
from strangers.unets import WIDTHS
from strangers.variant import Variant

XL = {
    "StableDiffusionXLPipeline": (4, ()),
    "StableDiffusionXLImg2ImgPipeline": (4, ("image",)),
    "StableDiffusionXLInpaintPipeline": (9, ("image", "mask_image")),
    "StableDiffusionXLInstructPix2PixPipeline": (8, ("image",)),
    "StableDiffusionXLPAGPipeline": (4, ()),
    "StableDiffusionXLControlNetPipeline": (4, ("image",)),
    "StableDiffusionXLAdapterPipeline": (4, ("image",)),
}
ONE = {
    "StableDiffusionControlNetPipeline": ("image",),
    "StableDiffusionControlNetImg2ImgPipeline": ("image", "control_image"),
    "StableDiffusionAdapterPipeline": ("image",),
    "StableDiffusionPipeline": (),
    "AnimateDiffPipeline": (),
    "AnimateDiffPAGPipeline": (),
    "AnimateDiffVideoToVideoPipeline": ("video",),
}


def _sizes(rng: Random, hidden: int, *, fixed: tuple[Any, int] | None = None) -> dict[str, Any]:
    widths, groups = fixed or rng.choice(WIDTHS[:6])
    n = len(widths)
    cross = rng.randrange(n)  # the stages from this one on attend
    return dict(
        sample_size=16,
        out_channels=4,
        block_out_channels=widths,
        norm_num_groups=groups,
        layers_per_block=rng.choice((1, 2, 2)),
        down_block_types=["DownBlock2D" if k < cross else "CrossAttnDownBlock2D" for k in range(n)],
        up_block_types=["UpBlock2D" if k < cross else "CrossAttnUpBlock2D" for k in reversed(range(n))],
        attention_head_dim=rng.choice((2, 4, [2, 4, 2, 4][:n])),
        cross_attention_dim=hidden,
        use_linear_projection=rng.random() < 0.5,
    )


def xl(rng: Random, name: str, kind: str) -> Variant:
    """Stable Diffusion XL of that kind; now and then its refiner, which has one text encoder."""
    channels, pictures = XL[kind]
    refiner = kind == "StableDiffusionXLImg2ImgPipeline" and rng.random() < 0.6
    hidden, ids = 32, 5 if refiner else 6
    config = _sizes(rng, hidden if refiner else 2 * hidden, fixed=((4, 8), 2) if "Adapter" in kind else None)
    n = len(config["block_out_channels"])
    config |= dict(
        in_channels=channels,
        transformer_layers_per_block=rng.choice((1, 2, [1 + k for k in range(n)])),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=ids * 8 + hidden,
        use_linear_projection=True,
    )
    scheduler, seed, is_awake = samplers.usual(rng), rng.randrange(1000), rng.random() < 0.5

    def build() -> Any:
        with parts.seeded(seed):
            unet = UNet2DConditionModel(**config)
            unet = parts.awake(unet) if is_awake else unet
            made: dict[str, Any] = dict(
                unet=unet, scheduler=samplers.built(*scheduler), vae=parts.vae(rng=Random(seed)),
                text_encoder=None if refiner else parts.clip(hidden), tokenizer=None if refiner else parts.words(),
                text_encoder_2=parts.clip(hidden, projection=True), tokenizer_2=parts.words(), add_watermarker=False,
            )  # fmt: skip
            if refiner:
                made["requires_aesthetics_score"] = True
            if "ControlNet" in kind:
                made["controlnet"] = control(unet, is_awake)
            if "Adapter" in kind:
                made.pop("add_watermarker")
                made["adapter"] = adapter(config["block_out_channels"], "full_adapter_xl")
            return getattr(diffusers, kind)(**made)

    drawn = {"pipeline": kind, "refiner": refiner, **config, "scheduler": scheduler, "awake": is_awake}
    return Variant(name, drawn, build, lambda: _call(kind, pictures))


def control(unet: Any, is_awake: bool) -> Any:
    """A ControlNet made from the U-Net, as training scripts make it; with zeros where it starts with them, or not."""
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))
    return parts.awake(net) if is_awake else net


def adapter(widths: Any, kind: str) -> Any:
    """A T2I adapter for a U-Net of those channels."""
    return T2IAdapter(
        in_channels=3, channels=list(widths), num_res_blocks=2, downscale_factor=2, adapter_type=kind
    )  # fmt: skip


def _call(kind: str, pictures: tuple[str, ...]) -> dict[str, Any]:
    frames = [parts.picture(seed=k) for k in range(2)]
    shown = {n: frames if n == "video" else parts.mask() if "mask" in n else parts.picture() for n in pictures}
    strength = {"strength": 1.0} if kind.endswith(("Img2ImgPipeline", "InpaintPipeline", "ToVideoPipeline")) else {}
    length = {"num_frames": 2} if kind in ("AnimateDiffPipeline", "AnimateDiffPAGPipeline") else {}
    size = {} if kind in ("StableDiffusionXLImg2ImgPipeline",) else {"height": 32, "width": 32}
    return {**size, **length, **shown, **strength}


def one(rng: Random, name: str, kind: str) -> Variant:
    """Stable Diffusion with one or two ControlNets or adapters or a motion module."""
    hidden = rng.choice((8, 32))
    narrow = "Adapter" in kind or "Animate" in kind
    config = {**_sizes(rng, hidden, fixed=((8, 8), 8) if narrow else None), "in_channels": 4}
    many = rng.random() < 0.4 and (kind == "StableDiffusionControlNetPipeline" or "Adapter" in kind)
    scheduler, seed, is_awake = samplers.usual(rng), rng.randrange(1000), rng.random() < 0.5
    motion_layers = rng.choice((1, 2))
    if "Animate" in kind:
        config["layers_per_block"] = 2

    def build() -> Any:
        with parts.seeded(seed):
            unet = UNet2DConditionModel(**config)
            unet = parts.awake(unet) if is_awake else unet
            made: dict[str, Any] = dict(
                unet=unet, scheduler=samplers.built(*scheduler), vae=parts.vae(rng=Random(seed)),
                text_encoder=parts.clip(hidden), tokenizer=parts.words(),
            )  # fmt: skip
            if "Animate" in kind:
                motions = MotionAdapter(
                    block_out_channels=config["block_out_channels"], motion_layers_per_block=motion_layers,
                    motion_norm_num_groups=2, motion_num_attention_heads=2,
                )  # fmt: skip
                return getattr(diffusers, kind)(**made, motion_adapter=motions)
            if "ControlNet" in kind:
                made["controlnet"] = [control(unet, is_awake) for _ in range(2)] if many else control(unet, is_awake)
            if "Adapter" in kind:
                nets = [adapter(config["block_out_channels"], "full_adapter") for _ in range(1 + many)]
                made["adapter"] = MultiAdapter(nets) if many else nets[0]
            made |= dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
            return getattr(diffusers, kind)(**made)

    def call() -> dict[str, Any]:
        found = _call(kind, ONE[kind])
        return {**found, "image": [parts.picture(), parts.picture(seed=1)]} if many else found

    drawn = {
        "pipeline": kind,
        **config,
        "two": many,
        "scheduler": scheduler,
        "awake": is_awake,
        "motion_layers": motion_layers,
    }
    return Variant(name, drawn, build, call)
