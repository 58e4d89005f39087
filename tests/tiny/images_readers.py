"""Pipelines whose encoder of texts is a Qwen VL model that sees pictures too: Ideogram, Fibo 2, DreamLite, JoyImage."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    AutoencoderTiny,
    BriaFibo2Transformer2DModel,
    DreamLiteUNetModel,
    FlowMatchEulerDiscreteScheduler,
    Ideogram4Transformer2DModel,
    JoyImageEditTransformer3DModel,
)
from transformers import Qwen3VLForConditionalGeneration

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, kandinsky5_transformer, long_clip, picture, seeded, small
from tests.tiny.images_edit import reader
from tests.tiny.mmdits_flux import flux2_vae
from tests.tiny.mmdits_late import qwen3_vl
from tests.tiny.pipelines import tokenizer


def ideogram() -> Any:
    """Ideogram 4: text and picture in one row; the answer without text is another network's."""
    with seeded():
        sizes: dict[str, Any] = dict(
            in_channels=16,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            intermediate_size=32,
            adaln_dim=16,
            llm_features_dim=13 * 16,
            mrope_section=(2, 1, 1),
        )
        return diffusers.Ideogram4Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=flux2_vae(),
            text_encoder=qwen3_vl(layers=36),
            tokenizer=texts.qwen_tokenizer(),
            transformer=awake(Ideogram4Transformer2DModel(**sizes)),
            unconditional_transformer=awake(Ideogram4Transformer2DModel(**sizes)),
        )


def fibo2() -> Any:
    """Fibo 2: gists of the text go into some of the blocks."""
    with seeded():
        transformer = BriaFibo2Transformer2DModel(
            in_channels=4,
            dim=16,
            n_layers=4,
            n_refiner_layers=1,
            n_heads=2,
            cap_feat_dim=16 * 3,
            injection_layer_ids=(1, 3),
            perceiver_num_layers=1,
            min_num_gist_tokens=4,
            max_num_gist_tokens=8,
            gist_step=2,
            gist_min_text_len=16,
            gist_max_text_len=64,
            axes_dims=(4, 2, 2),
            axes_lens=(1024, 32, 32),
        )
        return diffusers.BriaFibo2Pipeline(
            transformer=awake(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=flux2_vae(),
            text_encoder=qwen3_vl(Qwen3VLForConditionalGeneration, texts.OFTEN, layers=36),
            processor=reader(texts.qwen_tokenizer(texts.OFTEN, length=1024)),
        )


def dream(kind: str) -> Any:
    """DreamLite: a U-Net of few layers; a picture to change stands beside x_t."""
    with seeded():
        network = DreamLiteUNetModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 32, 32),
            layers_per_block=2,
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=8,
        )
        tiny = AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
        words = texts.qwen_tokenizer(texts.OFTEN, length=1024)
        return getattr(diffusers, kind)(
            text_encoder=qwen3_vl(Qwen3VLForConditionalGeneration, texts.OFTEN),
            tokenizer=words,
            processor=reader(words),
            vae=tiny.eval(),
            unet=awake(network),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        )


def joy() -> Any:
    """JoyImage without a picture to change."""
    with seeded():
        transformer = JoyImageEditTransformer3DModel(
            in_channels=4,
            hidden_size=16,
            num_attention_heads=2,
            text_dim=16,
            mlp_width_ratio=2.0,
            num_layers=4,
            rope_dim_list=[4, 2, 2],
        )
        vae = AutoencoderKLWan(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 1],
            num_res_blocks=1,
            temperal_downsample=[False],
            patch_size=16,
            in_channels=3 * 16 * 16,
            out_channels=3 * 16 * 16,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
            scale_factor_spatial=32,
        )
        words = texts.qwen_tokenizer(texts.OFTEN, length=1024)
        return diffusers.JoyImageEditPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae.eval(),
            text_encoder=qwen3_vl(Qwen3VLForConditionalGeneration, texts.OFTEN),
            tokenizer=words,
            transformer=awake(transformer),
            processor=reader(words),
        )


def kandinsky5_edit() -> Any:
    """Kandinsky 5's editing of pictures, at 64 x 64 instead of a million pixels."""
    with seeded():
        vae = AutoencoderKL(
            block_out_channels=(8,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
        )
        made = diffusers.Kandinsky5I2IPipeline(
            transformer=kandinsky5_transformer(visual_cond=True, attention_type="regular"),
            vae=vae.eval(),
            text_encoder=texts.qwen_vl(),
            tokenizer=reader(texts.qwen_tokenizer(length=1024)),
            text_encoder_2=long_clip(),
            tokenizer_2=tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        )
    made.resolutions = [(64, 64)]
    return made


def _shown(side: int = 16, **more: Any) -> dict[str, Any]:
    return small(side, image=picture(side), **more)


CASES = (
    Case(
        "ideogram4",
        "single-stream DiT",
        ideogram,
        partial(small, guidance_scale=3.0, guidance_schedule=None, max_sequence_length=128),
        component="transformer",
    ),
    Case("bria-fibo2", "single-stream DiT", fibo2, small),
    Case("bria-fibo2-edit", "editing", fibo2, _shown),
    Case("dreamlite", "U-Net", partial(dream, "DreamLitePipeline"), small),
    Case("dreamlite-edit", "editing", partial(dream, "DreamLitePipeline"), _shown),
    Case("dreamlite-mobile", "U-Net", partial(dream, "DreamLiteMobilePipeline"), small),
    Case("dreamlite-mobile-edit", "editing", partial(dream, "DreamLiteMobilePipeline"), _shown),
    Case("joyimage", "single-stream DiT", joy, partial(small, 64)),
    # Keys of one length are given together.
    Case(
        "kandinsky5-i2i",
        "editing",
        kandinsky5_edit,
        lambda: {"image": picture(64)},
        keys=("a red fox", "a wet dog", "a stone bridge"),
    ),
)
