"""Variants of Stable Diffusion that edit or guard; pixels from nothing; a discrete model; a prior without a loop."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

from tests.tiny.case import Case
from tests.tiny.parts import awake, mask, picture, processor, sd_like, seeded, small
from tests.tiny.pipelines import text_encoder, tokenizer

_change = partial(small, "image", "mask_image", size=None, strength=1.0)


def diffedit() -> Any:
    """DiffEdit: the key says what the masked part of an inverted picture becomes."""
    inverse = diffusers.DDIMInverseScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    return sd_like("StableDiffusionDiffEditPipeline", inverse_scheduler=inverse, without=("image_encoder",))


def inverted() -> dict[str, Any]:
    """What DiffEdit paints, one inverted latent for each of 12 steps, and where."""
    with seeded(4):
        latents = torch.randn(1, 12, 4, 16, 16)
    return dict(mask_image=mask(), image_latents=latents, inpaint_strength=1.0, num_inference_steps=12)


def guarded() -> Any:
    """The older inpainting pipeline; it is not loaded without a safety checker."""
    sizes: dict[str, Any] = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    config = CLIPConfig(vision_config=dict(**sizes, image_size=16, patch_size=8), text_config=sizes, projection_dim=16)
    with seeded():
        guard = StableDiffusionSafetyChecker(config).eval()
    parts: dict[str, Any] = dict(safety_checker=guard, feature_extractor=processor())
    return _edit("StableDiffusionInpaintPipelineLegacy", **parts)


def pixels(kind: str, scheduler: Any, **more: Any) -> Any:
    """An unconditional pipeline on pictures of 8 x 8."""
    with seeded():
        network = diffusers.UNet2DModel(
            sample_size=8,
            layers_per_block=1,
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
        )
        return getattr(diffusers, kind)(unet=network.eval(), scheduler=scheduler, **more)


def vq_diffusion() -> Any:
    """VQ-Diffusion: it unmasks codes."""
    from diffusers.pipelines.deprecated.vq_diffusion.pipeline_vq_diffusion import (
        LearnedClassifierFreeSamplingEmbeddings,
    )

    with seeded():
        network = diffusers.Transformer2DModel(
            attention_head_dim=8,
            num_attention_heads=2,
            cross_attention_dim=16,
            dropout=0.0,
            num_vector_embeds=8,
            num_embeds_ada_norm=8,
            sample_size=4,
            norm_type="ada_norm",
            activation_fn="geglu-approximate",
        )
        codes = diffusers.VQModel(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            num_vq_embeddings=8,
            vq_embed_dim=3,
        )
        return diffusers.VQDiffusionPipeline(
            vqvae=codes.eval(),
            text_encoder=text_encoder(),
            tokenizer=tokenizer(),
            transformer=awake(network),
            scheduler=diffusers.VQDiffusionScheduler(num_vec_classes=8, num_train_timesteps=8),
            learned_classifier_free_sampling_embeddings=LearnedClassifierFreeSamplingEmbeddings(False),
        )


def redux() -> Any:
    """Flux's Redux: a picture's embedding, made in one pass."""
    from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder

    sizes: dict[str, Any] = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    with seeded():
        eye = SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=16, patch_size=8))
        return diffusers.FluxPriorReduxPipeline(
            image_encoder=eye.eval(),
            feature_extractor=SiglipImageProcessor(size={"height": 16, "width": 16}),
            image_embedder=ReduxImageEncoder(redux_dim=16, txt_in_features=16),
        )


_edit = partial(sd_like, without=("image_encoder",))
_ledits = partial(small, editing_prompt=["a hat"])

CASES = (
    Case("sd-safe", "guidance", partial(_edit, "StableDiffusionPipelineSafe"), small),
    Case("sd-inpaint-legacy", "inpainting", guarded, _change),
    Case("sd-diffedit", "inpainting", diffedit, inverted),
    # These edit a picture that another call of the pipeline has inverted before.
    Case("leditspp", "editing", partial(_edit, "LEditsPPPipelineStableDiffusion"), _ledits),
    Case("ddim-unconditional", "unconditional", partial(pixels, "DDIMPipeline", diffusers.DDIMScheduler())),
    Case("pndm-unconditional", "unconditional", partial(pixels, "PNDMPipeline", diffusers.PNDMScheduler())),
    Case("vq-diffusion", "discrete", vq_diffusion),
    Case("flux-redux", "prior", redux, keys=tuple({"image": picture(size)} for size in (16, 24, 32))),
)
