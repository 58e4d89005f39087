"""Krea 2, Ernie Image and Bria Fibo pipelines, which read several layers of a language model; and Latte's videos."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKLWan,
    BriaFiboTransformer2DModel,
    DDIMScheduler,
    ErnieImageTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Krea2Transformer2DModel,
    LatteTransformer3DModel,
    NucleusMoEImageTransformer2DModel,
)
from transformers import (
    MistralConfig,
    MistralModel,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from tests.tiny import texts
from tests.tiny.case import PROMPTS, Case
from tests.tiny.dits_parts import awake, seeded, small, still
from tests.tiny.mmdits_flux import flux2_vae
from tests.tiny.mmdits_qwen import qwen_vae
from tests.tiny.pipelines import vae


def krea() -> Any:
    """A Krea 2 pipeline, 4 blocks."""
    with seeded():
        transformer = Krea2Transformer2DModel(
            in_channels=16,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=32,
            timestep_embed_dim=16,
            text_hidden_dim=16,
            num_text_layers=2,
            text_num_attention_heads=2,
            text_num_key_value_heads=2,
            text_intermediate_size=32,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 2, 2),
        )
        return diffusers.Krea2Pipeline(
            transformer=awake(transformer),
            vae=qwen_vae(),
            text_encoder=qwen3_vl(),
            tokenizer=texts.qwen_tokenizer(length=1024),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            text_encoder_select_layers=(1, 2),
        )


def qwen3_vl(kind: Any = Qwen3VLModel, *more: str, layers: int = 2) -> Any:
    """A Qwen 3 VL model; its tokenizer is Qwen's with `more` special tokens."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    sizes = texts.decoder_sizes(16, layers=layers)
    text = {**sizes, "vocab_size": len(texts.qwen_tokenizer(*more)), "rope_parameters": rope}
    ids = dict(vision_start_token_id=3, vision_end_token_id=4, image_token_id=5, video_token_id=6)
    vision = dict(depth=1, hidden_size=16, intermediate_size=32, num_heads=2, out_hidden_size=16, patch_size=2)
    vision.update(num_position_embeddings=16, deepstack_visual_indexes=[0])
    return kind(Qwen3VLConfig(text_config=text, vision_config=vision, **ids)).eval()


def ernie() -> Any:
    """An Ernie Image pipeline, 4 blocks."""
    with seeded():
        transformer = ErnieImageTransformer2DModel(
            hidden_size=24,
            num_attention_heads=2,
            num_layers=4,
            ffn_hidden_size=48,
            in_channels=16,
            out_channels=16,
            text_in_dim=16,
            rope_axes_dim=(4, 4, 4),
        )
        mistral = MistralConfig(vocab_size=len(texts.qwen_tokenizer()), **texts.decoder_sizes(16))
        return diffusers.ErnieImagePipeline(
            transformer=awake(transformer),
            vae=flux2_vae(),
            text_encoder=MistralModel(mistral).eval(),
            tokenizer=texts.glm_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )


def fibo(name: str) -> Any:
    """A Bria Fibo pipeline, 2 double and 2 single blocks; each block also reads a layer of the language model."""
    with seeded():
        transformer = BriaFiboTransformer2DModel(
            in_channels=4,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            axes_dims_rope=[4, 2, 2],
            text_encoder_dim=16,
        )
        autoencoder = AutoencoderKLWan(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False] * 4,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        )
        words = SmolLM3Config(vocab_size=len(texts.qwen_tokenizer()), **texts.decoder_sizes(16, layers=4))
        return getattr(diffusers, name)(
            transformer=awake(transformer),
            vae=autoencoder.eval(),
            text_encoder=SmolLM3ForCausalLM(words).eval(),
            tokenizer=texts.glm_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )


def nucleus() -> Any:
    """A Nucleus pipeline, 4 blocks, all but the first a mixture of 2 experts; a tokenizer processes the texts."""
    with seeded():
        transformer = NucleusMoEImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            num_key_value_heads=1,
            joint_attention_dim=16,
            axes_dims_rope=(4, 2, 2),
            dense_moe_strategy="leave_first_block_dense",
            num_experts=2,
            moe_intermediate_dim=16,
            capacity_factors=[1.0] * 4,
        )
        for name, weight in transformer.named_parameters():
            if "expert" in name:  # the class leaves these to a checkpoint
                torch.nn.init.normal_(weight, std=0.2)
        return diffusers.NucleusMoEImagePipeline(
            transformer=awake(transformer),
            vae=qwen_vae(),
            text_encoder=qwen3_vl(Qwen3VLForConditionalGeneration),
            processor=texts.qwen_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        )


def latte() -> Any:
    """A Latte pipeline: 2 spatial and 2 temporal blocks in turn, over 2 frames."""
    with seeded():
        transformer = LatteTransformer3DModel(
            sample_size=8,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=16,
            in_channels=4,
            cross_attention_dim=16,
            out_channels=8,
            attention_bias=True,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            video_length=2,
        )
        return diffusers.LattePipeline(
            transformer=awake(transformer),
            vae=vae(),
            text_encoder=texts.t5(),
            tokenizer=texts.t5_tokenizer(),
            scheduler=DDIMScheduler(clip_sample=False),
        )


# The negative prompt is not empty: for an empty one the pipeline takes the token 128000.
_fibo = partial(still, size=64, negative_prompt="dull")

CASES = (
    Case("krea2", "single-stream DiT", krea, partial(still, max_sequence_length=512)),
    Case("ernie-image", "single-stream DiT", ernie, small),
    Case("bria-fibo", "MMDiT", partial(fibo, "BriaFiboPipeline"), _fibo),
    Case(
        "bria-fibo-edit",
        "editing",
        partial(fibo, "BriaFiboEditPipeline"),
        partial(_fibo, "image", max_sequence_length=64, _auto_resize=False),
        keys=tuple(json.dumps({"edit_instruction": words}) for words in PROMPTS),
    ),
    Case("nucleus", "mixture of experts", nucleus, partial(still, max_sequence_length=512, return_index=-1)),
    Case("latte", "video", latte, partial(small, video_length=2, clean_caption=False)),
)
