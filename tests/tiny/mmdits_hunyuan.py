"""HunyuanImage, HiDream, Kandinsky 5 and PRX pipelines."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AdaptiveProjectedMixGuidance,
    AutoencoderKLHunyuanImage,
    FlowMatchEulerDiscreteScheduler,
    HiDreamImageTransformer2DModel,
    HunyuanImageTransformer2DModel,
    PRXTransformer2DModel,
)
from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, flow_vae, kandinsky5_transformer, long_clip, seeded, small, still
from tests.tiny.pipelines import text_encoder, tokenizer


def hunyuan_image(*, guided: bool = False) -> Any:
    """A HunyuanImage pipeline, 2 double and 2 single blocks; `guided` means that it is told its guidance scale."""
    with seeded():
        transformer = HunyuanImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            num_single_layers=2,
            num_refiner_layers=1,
            guidance_embeds=guided,
            text_embed_dim=16,
            rope_axes_dim=(4, 4),
        )
        vae = AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(32, 32),
            layers_per_block=1,
            spatial_compression_ratio=2,
            sample_size=16,
            scaling_factor=0.5,
        )
        glyphs = T5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        return diffusers.HunyuanImagePipeline(
            transformer=awake(transformer),
            vae=vae.eval(),
            text_encoder=texts.qwen_vl(layers=4),
            tokenizer=texts.qwen_tokenizer(),
            text_encoder_2=T5EncoderModel(glyphs).eval(),
            tokenizer_2=ByT5Tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
            guider=None if guided else AdaptiveProjectedMixGuidance(),
            ocr_guider=None if guided else AdaptiveProjectedMixGuidance(),
        )


def hidream() -> Any:
    """A HiDream pipeline, 2 double and 2 single blocks with mixtures of experts, four encoders of text.

    It rescales any size to latents of 128 x 128, hence the large patches.
    """
    with seeded():
        transformer = HiDreamImageTransformer2DModel(
            patch_size=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=[16, 16],
            text_emb_dim=32,
            num_routed_experts=2,
            num_activated_experts=1,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(16, 16),
            llama_layers=[0, 1, 0, 1],
            force_inference_output=True,
        )
        return diffusers.HiDreamImagePipeline(
            transformer=awake(transformer),
            vae=flow_vae(4),
            text_encoder=text_encoder(projection=True),
            tokenizer=tokenizer(),
            text_encoder_2=text_encoder(projection=True),
            tokenizer_2=tokenizer(),
            text_encoder_3=texts.t5(),
            tokenizer_3=texts.t5_tokenizer(),
            text_encoder_4=texts.llama(),
            tokenizer_4=texts.glm_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )


def kandinsky5() -> Any:
    """A Kandinsky 5 image pipeline, 2 blocks.

    It takes sizes about 1024 only: latents are 128 x 128, whatever the call wants.
    """
    with seeded():
        return diffusers.Kandinsky5T2IPipeline(
            transformer=kandinsky5_transformer(2),
            vae=flow_vae(4),
            text_encoder=texts.qwen_vl(),
            tokenizer=texts.qwen_tokenizer(),
            text_encoder_2=long_clip(),
            tokenizer_2=tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )


def prx(name: str) -> Any:
    """A PRX pipeline, 4 blocks, on latents or on pixels."""
    pixels = "Pixel" in name
    with seeded():
        transformer = PRXTransformer2DModel(
            in_channels=3 if pixels else 4,
            patch_size=2,
            context_in_dim=16,
            hidden_size=16,
            num_heads=2,
            depth=4,
            axes_dim=[4, 4],
        )
        return getattr(diffusers, name)(
            transformer=awake(transformer),
            text_encoder=texts.t5(),
            tokenizer=texts.t5_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            **({} if pixels else {"vae": flow_vae(4)}),
        )


# Without guidance: with it, PRX repeats the time for 2 samples only, and a list of keys fails.
_plain = partial(small, use_resolution_binning=False, guidance_scale=1.0)

CASES = (
    Case("hunyuan-image", "MMDiT", hunyuan_image, small),
    Case("hunyuan-image-distilled", "MMDiT", partial(hunyuan_image, guided=True), small),
    Case("hidream", "mixture of experts", hidream, partial(still, max_sequence_length=24)),
    Case("kandinsky5-t2i", "DiT", kandinsky5, partial(still, max_sequence_length=512)),
    Case("prx", "single-stream DiT", partial(prx, "PRXPipeline"), _plain),
    Case("prx-pixel", "pixels", partial(prx, "PRXPixelPipeline"), _plain),
)
