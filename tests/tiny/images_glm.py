"""GLM Image: a language model draws coarse tokens, the denoiser refines them; quoted words have their own encoder."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, GlmImageTransformer2DModel
from transformers import GlmImageConfig, GlmImageForConditionalGeneration, GlmImageProcessor
from transformers.models.glm_image.image_processing_pil_glm_image import GlmImageImageProcessorPil

from tests.tiny import texts
from tests.tiny.case import PROMPTS, Case
from tests.tiny.dits_parts import awake, seeded, small

CODES = 16


def glm_tokenizer() -> Any:
    """Qwen's tokenizer under the names that GLM Image's processor asks for."""
    made = texts.qwen_tokenizer()
    names = dict(image_token="<|image_pad|>", grid_bos_token="<|vision_start|>", grid_eos_token="<|vision_end|>")
    made.add_special_tokens({"bos_token": "<|im_start|>"})
    made._set_model_specific_special_tokens(special_tokens=names)
    return made


def writer() -> Any:
    """The language model that draws tokens of pictures, 1 layer."""
    text = {
        **texts.decoder_sizes(16, layers=1),
        "vocab_size": len(texts.qwen_tokenizer()),
        "vision_vocab_size": CODES + 2,
    }
    text.pop("head_dim")
    text["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": 1e4,
        "mrope_section": [2, 1, 1],
        "partial_rotary_factor": 1.0,
    }
    config = GlmImageConfig(
        text_config={**text, "eos_token_id": CODES + 1},
        vision_config=dict(depth=1, hidden_size=16, num_heads=2, intermediate_size=32, image_size=64, patch_size=16),
        vq_config=dict(embed_dim=16, num_embeddings=CODES, latent_channels=16),
        image_token_id=5,
        image_start_token_id=CODES,
        image_end_token_id=CODES + 1,
    )
    return GlmImageForConditionalGeneration(config).eval()


def glm_image() -> Any:
    """A GLM Image pipeline, 4 blocks."""
    with seeded():
        transformer = GlmImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=16,
            time_embed_dim=16,
            condition_dim=8,
            prior_vq_quantizer_codebook_size=CODES,
        )
        vae = AutoencoderKL(
            block_out_channels=(4,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=2,
            layers_per_block=1,
            latent_channels=4,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        )
        return diffusers.GlmImagePipeline(
            tokenizer=texts.t5_tokenizer(),
            processor=GlmImageProcessor(GlmImageImageProcessorPil(), glm_tokenizer(), chat_template=texts.TEMPLATE),
            text_encoder=texts.t5(),
            vision_language_encoder=writer(),
            vae=vae.eval(),
            transformer=awake(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        )


def drawn() -> tuple[dict[str, Any], ...]:
    """Keys: prompts, each with the tokens that the language model would draw for it."""
    with seeded():
        codes = torch.randint(CODES, (3, 1, 4))
    words = (f'a sign that says "{one}"' for one in PROMPTS)
    return tuple({"prompt": one, "prior_token_ids": code} for one, code in zip(words, codes, strict=True))


CASES = (Case("glm-image", "single-stream DiT", glm_image, partial(small, 32), keys=drawn()),)
