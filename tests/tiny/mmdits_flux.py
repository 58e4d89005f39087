"""Pipelines whose transformer descends from Flux: Flux 2 Klein, Chroma, Bria, Ovis, LongCat."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLFlux2,
    BriaTransformer2DModel,
    ChromaTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2Transformer2DModel,
    LongCatImageTransformer2DModel,
    OvisImageTransformer2DModel,
)
from transformers import MistralConfig, MistralForCausalLM

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, flow_vae, seeded, small, still

SIZES: dict[str, Any] = dict(
    in_channels=16,
    num_layers=2,
    num_single_layers=2,
    attention_head_dim=8,
    num_attention_heads=2,
    joint_attention_dim=16,
)
AXES = (4, 2, 2)


def flow(**choices: Any) -> Any:
    """The scheduler of flow models, whose shift follows the image's size."""
    return FlowMatchEulerDiscreteScheduler(**{"use_dynamic_shifting": True, **choices})


def flux2(name: str, *, distilled: bool | None = None) -> Any:
    """A Flux 2 pipeline, 2 double and 2 single blocks; its text is read from three layers of a language model.

    Klein reads Qwen 3 and knows whether it is `distilled`; the larger model reads Mistral and is told its guidance.
    """
    with seeded():
        words = MistralConfig(vocab_size=len(texts.qwen_tokenizer()), **texts.decoder_sizes(16))
        sizes = {**SIZES, "joint_attention_dim": 3 * 16, "axes_dims_rope": (2, 2, 2, 2)}
        return getattr(diffusers, name)(
            transformer=awake(Flux2Transformer2DModel(**sizes, guidance_embeds=distilled is None)),
            vae=flux2_vae(),
            text_encoder=MistralForCausalLM(words).eval() if distilled is None else texts.qwen3(head=True),
            tokenizer=texts.qwen_tokenizer(),
            scheduler=flow(),
            **({} if distilled is None else {"is_distilled": distilled}),
        )


def flux2_vae() -> Any:
    """Flux 2's autoencoder, downsampling 2, 4 latent channels."""
    return AutoencoderKLFlux2(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    ).eval()


def chroma(name: str) -> Any:
    """A Chroma pipeline, 2 double and 2 single blocks; one network modulates them all."""
    with seeded():
        transformer = ChromaTransformer2DModel(
            **SIZES,
            axes_dims_rope=AXES,
            approximator_num_channels=8,
            approximator_hidden_dim=16,
            approximator_layers=1,
        )
        return getattr(diffusers, name)(
            transformer=awake(transformer),
            vae=flow_vae(4),
            text_encoder=texts.t5(),
            tokenizer=texts.t5_tokenizer(),
            scheduler=flow(use_dynamic_shifting=False),
        )


def bria() -> Any:
    """A Bria pipeline, 2 double and 2 single blocks."""
    with seeded():
        return diffusers.BriaPipeline(
            transformer=awake(BriaTransformer2DModel(**SIZES, axes_dims_rope=list(AXES))),
            vae=flow_vae(4),
            text_encoder=texts.t5(),
            tokenizer=texts.t5_tokenizer(),
            scheduler=flow(),
        )


def ovis() -> Any:
    """An Ovis Image pipeline, 2 double and 2 single blocks."""
    with seeded():
        return diffusers.OvisImagePipeline(
            transformer=awake(OvisImageTransformer2DModel(**SIZES, out_channels=16, axes_dims_rope=AXES)),
            vae=flow_vae(4),
            text_encoder=texts.qwen3(),
            tokenizer=texts.qwen_tokenizer(),
            scheduler=flow(),
        )


def longcat() -> Any:
    """A LongCat Image pipeline, 2 double and 2 single blocks."""
    with seeded():
        return diffusers.LongCatImagePipeline(
            transformer=awake(
                LongCatImageTransformer2DModel(
                    **{**SIZES, "in_channels": 64}, pooled_projection_dim=16, axes_dims_rope=list(AXES)
                )
            ),
            vae=flow_vae(),
            text_encoder=texts.qwen_vl(),
            tokenizer=texts.qwen_tokenizer(),
            text_processor=texts.qwen_tokenizer(),
            scheduler=flow(),
        )


_from = partial(still, "image", strength=1.0)
_layers = partial(still, max_sequence_length=64, text_encoder_out_layers=(0, 1, 2))
_pictured = partial(_layers, "image", size=64)

CASES = (
    Case("flux2", "MMDiT", partial(flux2, "Flux2Pipeline"), partial(_layers, max_sequence_length=512)),
    Case("flux2-klein-kv", "editing", partial(flux2, "Flux2KleinKVPipeline", distilled=True), _pictured),
    Case("flux2-klein", "MMDiT", partial(flux2, "Flux2KleinPipeline", distilled=False), _layers),
    Case("flux2-klein-distilled", "MMDiT", partial(flux2, "Flux2KleinPipeline", distilled=True), _layers),
    Case("flux2-klein-edit", "editing", partial(flux2, "Flux2KleinPipeline", distilled=False), _pictured),
    Case(
        "flux2-klein-inpaint",
        "inpainting",
        partial(flux2, "Flux2KleinInpaintPipeline", distilled=False),
        partial(_layers, "image", "mask_image", strength=1.0),
    ),
    Case("chroma", "MMDiT", partial(chroma, "ChromaPipeline"), still),
    Case("chroma-img2img", "image to image", partial(chroma, "ChromaImg2ImgPipeline"), _from),
    Case("bria", "MMDiT", bria, still),
    Case("ovis-image", "MMDiT", ovis, partial(still, max_sequence_length=256)),
    Case(
        "longcat-image",
        "MMDiT",
        longcat,
        partial(small, enable_prompt_rewrite=False),
    ),
)
