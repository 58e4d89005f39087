"""Pipelines that see pictures among the words of the prompt: Z-Image Omni, Qwen-Image 2.1."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKLQwenImage21,
    FlowMatchEulerDiscreteScheduler,
    QwenImage21Transformer2DModel,
)
from transformers import (
    LlavaProcessor,
    Qwen3VLForConditionalGeneration,
    Siglip2VisionConfig,
    Siglip2VisionModel,
)
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, picture, seeded, small, still
from tests.tiny.mmdits_late import qwen3_vl
from tests.tiny.mmdits_qwen import z_image
from tests.tiny.parts import processor


def z_image_omni(dtype: Any = torch.float32) -> Any:
    """Z-Image Omni: pictures as latents beside x_t and as tokens of a vision encoder."""
    with seeded():
        sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
        seen = Siglip2VisionModel(Siglip2VisionConfig(**sizes, patch_size=8, num_patches=4)).eval()
    pipeline = z_image(
        "ZImageOmniPipeline",
        seen=16,
        siglip=seen,
        siglip_processor=Siglip2ImageProcessorPil(patch_size=8, max_num_patches=4),
    )
    pipeline.vae.to(dtype)
    return pipeline


def qwen_image_21() -> Any:
    """Qwen-Image 2.1: one sequence of words and patches; what the words made in the first step is kept."""
    with seeded():
        transformer = QwenImage21Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            context_in_dim=16,
            axes_dims_rope=(4, 2, 2),
        )
        vae = AutoencoderKLQwenImage21(
            base_dim=8,
            decoder_base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        )
        return diffusers.QwenImage21Pipeline(
            transformer=awake(transformer),
            vae=vae.eval(),
            text_encoder=qwen3_vl(Qwen3VLForConditionalGeneration, texts.OFTEN),
            # Qwen's own, which would see pictures as well, needs torchvision.
            processor=LlavaProcessor(
                processor(), texts.qwen_tokenizer(texts.OFTEN, length=1024), chat_template=texts.TEMPLATE
            ),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        )


CASES = (
    Case("z-image-omni", "editing", z_image_omni, partial(still, max_sequence_length=128)),
    Case(
        "z-image-omni-pictures",
        "editing",
        partial(z_image_omni, torch.bfloat16),  # it gives its autoencoder pictures in that type, whatever its own
        lambda: still(image=[picture(64), picture(64)], max_sequence_length=128),
    ),
    Case("qwen-image-21", "single-stream DiT", qwen_image_21, partial(small, 32)),
)
