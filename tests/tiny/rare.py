"""Tiny pipelines that few use: OmniGen, UniDiffuser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    OmniGenTransformer2DModel,
    UniDiffuserModel,
    UniDiffuserTextDecoder,
)
from diffusers.pipelines.omnigen import pipeline_omnigen, processor_omnigen

from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, seeded, small
from tests.tiny.parts import processor, vision
from tests.tiny.pipelines import text_encoder, tokenizer, vae
from tests.tiny.texts import OFTEN, qwen_tokenizer


def omnigen() -> Any:
    """OmniGen: the denoiser reads the words itself, before the patches of x_t in one sequence."""
    # its processor is there with torchvision alone, by which it scales pictures; it is given none here
    kinds = ("Compose", "Lambda", "ToTensor", "Normalize")
    stand_in = SimpleNamespace(**dict.fromkeys(kinds, _nothing))
    vars(processor_omnigen)["transforms"] = stand_in
    vars(pipeline_omnigen)["OmniGenMultiModalProcessor"] = processor_omnigen.OmniGenMultiModalProcessor
    with seeded():
        words = qwen_tokenizer(OFTEN, length=2048)
        autoencoder = AutoencoderKL(
            block_out_channels=(4,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
        )
        transformer = OmniGenTransformer2DModel(
            in_channels=4,
            hidden_size=16,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=32,
            num_layers=4,
            pad_token_id=0,
            vocab_size=len(words),
            rope_scaling={"short_factor": [1.0] * 4, "long_factor": [1.0] * 4},
            time_step_dim=16,
        )
        return diffusers.OmniGenPipeline(
            transformer=awake(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True, num_train_timesteps=1),
            vae=autoencoder.eval(),
            tokenizer=words,
        )


def _nothing(*_: Any, **__: Any) -> None:
    return None


def unidiffuser() -> Any:
    """UniDiffuser: pictures and texts are noised both, and the sampler's x_t is their latents in a row."""
    with seeded():
        transformer = UniDiffuserModel(
            text_dim=16,
            clip_img_dim=16,
            num_text_tokens=24,
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            norm_num_groups=4,
            norm_type="layer_norm",
            pre_layer_norm=False,
            use_data_type_embedding=False,
            activation_fn="gelu",
        )
        decoder = UniDiffuserTextDecoder(
            prefix_length=24, prefix_inner_dim=16, vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2
        )
        return diffusers.UniDiffuserPipeline(
            vae=vae(),
            text_encoder=text_encoder(),
            image_encoder=vision(),
            clip_image_processor=processor(),
            clip_tokenizer=tokenizer(),
            text_decoder=decoder.eval(),
            text_tokenizer=tokenizer(),
            unet=awake(transformer),
            scheduler=DPMSolverMultistepScheduler(),
        )


CASES = (
    Case("omnigen", "MMDiT", omnigen, lambda: small(32, max_input_image_size=32)),
    Case("unidiffuser", "combined", unidiffuser),
)
