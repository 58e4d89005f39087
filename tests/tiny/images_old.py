"""Older pipelines in stages: Wuerstchen, Stable Cascade's decoder, UnCLIP; and painting by an example."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel, WuerstchenDiffNeXt, WuerstchenPrior

from tests.tiny.cascades import cascade_network, cascade_prior
from tests.tiny.case import PROMPTS, Case
from tests.tiny.kandinsky import prior_network
from tests.tiny.parts import awake, picture, processor, seeded, small, unet, vision
from tests.tiny.pipelines import sd, text_encoder, tokenizer


def paella() -> Any:
    """The autoencoder of Wuerstchen and Stable Cascade."""
    return PaellaVQModel(levels=1, bottleneck_blocks=1, embed_dim=8, num_vq_embeddings=16).eval()


def words() -> dict[str, Any]:
    """A text encoder and its tokenizer."""
    return dict(text_encoder=text_encoder(), tokenizer=tokenizer())


def wuerstchen_prior() -> Any:
    """Wuerstchen's first stage: text to a small map."""
    with seeded():
        network = awake(WuerstchenPrior(c_in=2, c=16, c_cond=16, c_r=16, depth=4, nhead=2))
        return diffusers.WuerstchenPriorPipeline(
            **words(), prior=network, scheduler=diffusers.DDPMWuerstchenScheduler(), resolution_multiple=4.0
        )


def wuerstchen_decoder() -> Any:
    """Wuerstchen's second stage: the key is the first stage's map."""
    with seeded():
        network = WuerstchenDiffNeXt(
            c_r=16,
            c_cond=16,
            c_hidden=[16, 32],
            nhead=[-1, 2],
            blocks=[2, 2],
            level_config=["CT", "CTA"],
            inject_effnet=[False, True],
            effnet_embd=2,
            clip_embd=16,
            dropout=0.0,
        )
        return diffusers.WuerstchenDecoderPipeline(
            **words(),
            decoder=awake(network),
            scheduler=diffusers.DDPMWuerstchenScheduler(),
            vqgan=paella(),
            latent_dim_scale=2.0,
        )


def wuerstchen() -> Any:
    """Both stages in one pipeline; the second one's network is the denoiser."""
    parts = {f"prior_{name}": part for name, part in wuerstchen_prior().components.items()}
    return diffusers.WuerstchenCombinedPipeline(**parts, **wuerstchen_decoder().components)


def cascade_decoder() -> Any:
    """Stable Cascade's second stage: the key is the first stage's map."""
    with seeded():
        network = cascade_network(effnet_in_channels=4, pixel_mapper_in_channels=3)
        return diffusers.StableCascadeDecoderPipeline(
            decoder=network,
            tokenizer=tokenizer(),
            text_encoder=text_encoder(projection=True),
            scheduler=diffusers.DDPMWuerstchenScheduler(),
            vqgan=paella(),
            latent_dim_scale=2.0,
        )


def cascade() -> Any:
    """Both stages of Stable Cascade; the second one's network is the denoiser."""
    parts = {f"prior_{name}": part for name, part in cascade_prior().components.items()}
    return diffusers.StableCascadeCombinedPipeline(**parts, **cascade_decoder().components)


def unclip_parts() -> dict[str, Any]:
    """UnCLIP's decoder and the two networks that make its pictures larger."""
    projection = UnCLIPTextProjModel(clip_embeddings_dim=16, time_embed_dim=64, cross_attention_dim=16)
    decoder = unet(
        out_channels=6,
        in_channels=3,
        block_out_channels=(16, 32),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attention_head_dim=8,
        class_embed_type="identity",
        resnet_time_scale_shift="scale_shift",
    )
    larger = [
        diffusers.UNet2DModel(
            sample_size=16,
            in_channels=6,
            out_channels=3,
            layers_per_block=1,
            block_out_channels=(8, 8),
            down_block_types=("ResnetDownsampleBlock2D",) * 2,
            up_block_types=("ResnetUpsampleBlock2D",) * 2,
            norm_num_groups=4,
            attention_head_dim=4,
        ).eval()
        for _ in range(2)
    ]
    return dict(
        decoder=awake(decoder),
        text_proj=awake(projection).eval(),
        text_encoder=text_encoder(projection=True),
        tokenizer=tokenizer(),
        super_res_first=larger[0],
        super_res_last=larger[1],
        decoder_scheduler=diffusers.UnCLIPScheduler(variance_type="learned_range", prediction_type="epsilon"),
        super_res_scheduler=diffusers.UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="epsilon"),
    )


def unclip() -> Any:
    """UnCLIP: a prior, a decoder and two steps of super-resolution."""
    with seeded():
        return diffusers.UnCLIPPipeline(
            **unclip_parts(),
            prior=prior_network(),
            prior_scheduler=diffusers.UnCLIPScheduler(prediction_type="sample", clip_sample_range=5.0),
        )


def unclip_variation() -> Any:
    """UnCLIP without the prior: the key is a picture."""
    with seeded():
        return diffusers.UnCLIPImageVariationPipeline(
            **unclip_parts(), feature_extractor=processor(), image_encoder=vision()
        )


def example_painting() -> Any:
    """Paint by example: the key is the picture of what is painted into the masked part of another."""
    base = sd().components
    parts = {name: base[name] for name in ("vae", "scheduler", "safety_checker")}
    with seeded():
        eye = PaintByExampleImageEncoder(vision().config, proj_size=16)
        return diffusers.PaintByExamplePipeline(
            **parts, unet=unet(in_channels=9), image_encoder=awake(eye).eval(), feature_extractor=processor()
        )


def _maps(channels: int) -> tuple[dict[str, Any], ...]:
    with seeded(3):
        drawn = torch.randn(3, 1, channels, 4, 4)
    return tuple({"prompt": text, "image_embeddings": one.clone()} for text, one in zip(PROMPTS, drawn, strict=True))


_quick = partial(small, prior_num_inference_steps=2)


def _steps(prior: int = 0) -> dict[str, Any]:
    own = {"prior_num_inference_steps": prior} if prior else {}
    return {**own, "decoder_num_inference_steps": 3, "super_res_num_inference_steps": 2}


_VIEWS = tuple({"image": picture(size)} for size in (16, 24, 32))
_EXAMPLES = tuple({"example_image": picture(size)} for size in (16, 24, 32))

CASES = (
    Case("wuerstchen-prior", "prior", wuerstchen_prior, small),
    Case("wuerstchen-decoder", "image embedding", wuerstchen_decoder, keys=_maps(2)),
    # One key at a time: the pipeline repeats two texts once more. Its first stage makes a map of 3 x 3.
    Case("wuerstchen", "combined", wuerstchen, partial(_quick, size=128)),
    Case("cascade-decoder", "image embedding", cascade_decoder, keys=_maps(4)),
    Case("cascade", "combined", cascade, _quick),
    Case("unclip-prior", "prior", unclip, partial(_steps, 3)),
    Case("unclip-decoder", "combined", unclip, partial(_steps, 2), component="decoder"),
    Case("unclip-variation", "image condition", unclip_variation, _steps, keys=_VIEWS),
    Case(
        "paint-by-example", "inpainting", example_painting, partial(small, "image", "mask_image", size=None),
        keys=_EXAMPLES,
    ),
)  # fmt: skip
