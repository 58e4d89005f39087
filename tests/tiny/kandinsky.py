"""Kandinsky 2.2 (a prior, and a decoder whose key is the prior's embedding) and Kandinsky 3."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler, PriorTransformer, UnCLIPScheduler, VQModel

from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, bold
from tests.tiny.parts import processor, seeded, small, unet, vision
from tests.tiny.pipelines import text_encoder, tokenizer
from tests.tiny.texts import t5, t5_tokenizer

_BETAS: dict[str, Any] = dict(beta_schedule="linear", beta_start=0.00085, beta_end=0.012)


def embeddings(size: int = 16) -> tuple[dict[str, Any], ...]:
    """Three keys of a decoder: what a prior would say of a text, and of no text."""
    with seeded(3):
        drawn = torch.randn(3, 1, size)
    empty = torch.zeros(1, size)
    return tuple({"image_embeds": k.clone(), "negative_image_embeds": empty.clone()} for k in drawn)


def prior_network(**changes: Any) -> Any:
    """The transformer that turns a text into the embedding of a picture: 4 blocks."""
    sizes = dict(num_attention_heads=2, attention_head_dim=8, num_layers=4, embedding_dim=16, num_embeddings=24)
    network = awake(PriorTransformer(**{**sizes, **changes}))
    with torch.no_grad():
        network.clip_std.fill_(1.0)
    return bold(network)


def prior_parts() -> dict[str, Any]:
    """The components of a prior's pipeline."""
    with seeded():
        return dict(
            prior=prior_network(),
            image_encoder=vision(),
            text_encoder=text_encoder(projection=True),
            tokenizer=tokenizer(),
            scheduler=UnCLIPScheduler(prediction_type="sample", clip_sample_range=5.0),
            image_processor=processor(),
        )


def prior(kind: str) -> Any:
    """The prior's pipeline of that name."""
    return getattr(diffusers, kind)(**prior_parts())


def movq() -> Any:
    """Kandinsky's autoencoder, 4 latent channels, downsampling 2, normalised by the latents."""
    return VQModel(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=12,
        norm_type="spatial",
    ).eval()


def added_unet(**changes: Any) -> Any:
    """A U-Net whose condition joins the keys of self-attention and the time; it predicts the variance too."""
    return unet(
        **{
            "out_channels": 8,
            "block_out_channels": (16, 32, 32),
            "down_block_types": ("ResnetDownsampleBlock2D",) + ("SimpleCrossAttnDownBlock2D",) * 2,
            "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
            "up_block_types": ("SimpleCrossAttnUpBlock2D",) * 2 + ("ResnetUpsampleBlock2D",),
            "attention_head_dim": 8,
            "encoder_hid_dim": 16,
            "resnet_time_scale_shift": "scale_shift",
            **changes,
        }
    )


def decoder_parts(*, channels: int = 4, embed: str = "image") -> dict[str, Any]:
    """The components of a decoder's pipeline."""
    with seeded():
        return dict(
            unet=added_unet(in_channels=channels, encoder_hid_dim_type="image_proj", addition_embed_type=embed),
            scheduler=DDPMScheduler(**_BETAS, variance_type="learned_range", clip_sample=False),
            movq=movq(),
        )


def decoder(kind: str, **more: Any) -> Any:
    """The decoder's pipeline of that name."""
    return getattr(diffusers, "KandinskyV22" + kind)(**decoder_parts(**more))


def combined(kind: str, **more: Any) -> Any:
    """Prior and decoder in one pipeline; the decoder's U-Net is the denoiser."""
    parts = {f"prior_{name}": part for name, part in prior_parts().items()}
    return getattr(diffusers, "KandinskyV22" + kind)(**parts, **decoder_parts(**more))


def third(kind: str) -> Any:
    """Kandinsky 3: T5, and a U-Net of its own that pools the text into the time."""
    with seeded():
        network = diffusers.Kandinsky3UNet(
            time_embedding_dim=16,
            groups=2,  # with 4 two numbers are normalised together at the smallest size, which rounding may decide
            attention_head_dim=8,
            layers_per_block=3,
            block_out_channels=(16, 16, 32, 32),
            cross_attention_dim=16,
            encoder_hid_dim=16,
        )
        return getattr(diffusers, kind)(
            tokenizer=t5_tokenizer(128),
            text_encoder=t5(),
            unet=network.eval(),
            scheduler=DDPMScheduler(**_BETAS, clip_sample=False),
            movq=movq(),
        )


def hint(*names: str, **more: Any) -> dict[str, Any]:
    """Call arguments with a depth map, which the U-Net makes 8 times smaller, to the size of the latents."""
    return small(*names, hint=torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64), **more)


_KEYS = embeddings()
_change = partial(small, "image", strength=1.0)
_paint = partial(small, "image", "mask_image")
_hinted = dict(channels=8, embed="image_hint")

CASES = (
    Case("kandinsky22-prior", "prior", partial(prior, "KandinskyV22PriorPipeline"), component="prior"),
    Case(
        "kandinsky22-prior-emb2emb",
        "prior",
        partial(prior, "KandinskyV22PriorEmb2EmbPipeline"),
        partial(small, "image", size=None, strength=1.0),
        component="prior",
    ),
    Case("kandinsky22", "image embedding", partial(decoder, "Pipeline"), small, keys=_KEYS),
    Case("kandinsky22-img2img", "image to image", partial(decoder, "Img2ImgPipeline"), _change, keys=_KEYS),
    # One key at a time: neither the mask nor a hint is repeated for a second embedding.
    Case("kandinsky22-inpaint", "inpainting", partial(decoder, "InpaintPipeline", channels=9), _paint, keys=_KEYS),
    Case("kandinsky22-controlnet", "control", partial(decoder, "ControlnetPipeline", **_hinted), hint, keys=_KEYS),
    Case(
        "kandinsky22-controlnet-img2img",
        "control",
        partial(decoder, "ControlnetImg2ImgPipeline", **_hinted),
        partial(hint, "image", strength=1.0),
        keys=_KEYS,
    ),
    Case("kandinsky22-combined", "combined", partial(combined, "CombinedPipeline"), small, component="unet"),
    Case(
        "kandinsky22-combined-img2img",
        "combined",
        partial(combined, "Img2ImgCombinedPipeline"),
        _change,
        component="unet",
    ),
    Case(
        "kandinsky22-combined-inpaint",
        "combined",
        partial(combined, "InpaintCombinedPipeline", channels=9),
        _paint,
        component="unet",
    ),
    Case("kandinsky3", "U-Net", partial(third, "Kandinsky3Pipeline"), small),
    Case(
        "kandinsky3-img2img",
        "image to image",
        partial(third, "Kandinsky3Img2ImgPipeline"),
        partial(small, "image", size=None, strength=1.0),
    ),
)
