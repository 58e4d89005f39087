"""Tiny pipelines of families that came late: JoyImage with several references, Cosmos 2.5."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLWan,
    CosmosTransformer3DModel,
    JoyImageEditPlusTransformer3DModel,
    UniPCMultistepScheduler,
)

from tests.tiny.case import Case
from tests.tiny.guardrail import AllIsWell
from tests.tiny.images_readers import joy
from tests.tiny.parts import awake, picture, seeded, small
from tests.tiny.texts import qwen_tokenizer, qwen_vl
from tests.tiny.videos import clip


def joy_plus() -> Any:
    """JoyImage with the patches of references beside x_t."""
    own = joy()
    with seeded():
        transformer = JoyImageEditPlusTransformer3DModel.from_config(own.transformer.config)
        return diffusers.JoyImageEditPlusPipeline(**{**own.components, "transformer": awake(transformer)})


def cosmos25() -> Any:
    """Cosmos 2.5: a mask that says which frames are given, a time for every frame."""
    with seeded():
        words = qwen_tokenizer(length=256)
        transformer = CosmosTransformer3DModel(
            in_channels=17,
            out_channels=16,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=4,
            mlp_ratio=2,
            text_embed_dim=16,
            adaln_lora_dim=4,
            max_size=(4, 32, 32),
            concat_padding_mask=False,  # it needs torchvision
            extra_pos_embed_type=None,
            use_crossattn_projection=True,
            crossattn_proj_in_channels=32,
            encoder_hidden_states_channels=16,
        )
        return diffusers.Cosmos2_5_PredictBasePipeline(
            text_encoder=qwen_vl(),
            tokenizer=words,
            transformer=awake(transformer),
            vae=AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval(),
            scheduler=UniPCMultistepScheduler(
                use_flow_sigmas=True,
                prediction_type="flow_prediction",
                use_karras_sigmas=True,
                final_sigmas_type="sigma_min",
            ),
            safety_checker=AllIsWell().eval(),
        )


CASES = (
    Case("joyimage-plus", "editing", joy_plus, lambda: small(size=64)),
    Case("joyimage-plus-references", "editing", joy_plus, lambda: small(size=64, images=[picture(64)])),
    Case("cosmos2.5-predict", "video", cosmos25, lambda: clip(9, 32, max_sequence_length=128)),
)
