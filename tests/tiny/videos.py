"""Tiny video transformers: CogVideoX, LTX, Mochi, Wan with one expert and with two."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    AutoencoderKLMochi,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoTransformer3DModel,
    LTXVideoTransformer3DModel,
    MochiTransformer3DModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)

from tests.tiny.case import Case
from tests.tiny.dits_parts import long_clip
from tests.tiny.parts import awake, seeded
from tests.tiny.pipelines import tokenizer
from tests.tiny.texts import llama, qwen_tokenizer, t5, t5_tokenizer, umt5


def cogvideox(kind: str = "CogVideoXPipeline", channels: int = 4) -> Any:
    """CogVideoX: text and frames in one sequence, frames before channels."""
    with seeded():
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=channels,
            out_channels=4,
            time_embed_dim=8,
            text_embed_dim=16,
            num_layers=4,
            sample_width=2,
            sample_height=2,
            sample_frames=9,
            max_text_seq_length=16,
        )
        vae = AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
        )
        return getattr(diffusers, kind)(
            tokenizer=t5_tokenizer(16),
            text_encoder=t5(),
            vae=vae.eval(),
            transformer=awake(transformer).eval(),
            scheduler=CogVideoXDDIMScheduler(),
        )


def ltx(kind: str = "LTXPipeline") -> Any:
    """LTX: packed latents, rotary positions."""
    with seeded():
        transformer = LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=32,
            num_layers=4,
            caption_channels=16,
        )
        vae = AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, False, False),
            decoder_spatio_temporal_scaling=(True, True, False, False),
            patch_size=1,
            patch_size_t=1,
        )
        return getattr(diffusers, kind)(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae.eval(),
            text_encoder=t5(),
            tokenizer=t5_tokenizer(16),
            transformer=awake(transformer).eval(),
        )


def mochi() -> Any:
    """Mochi: a scheduler that counts from noise to picture."""
    with seeded():
        transformer = MochiTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=4,
            pooled_projection_dim=16,
            in_channels=12,
            text_embed_dim=16,
            time_embed_dim=8,
            max_sequence_length=16,
        )
        vae = AutoencoderKLMochi(
            latent_channels=12,
            encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32),
            layers_per_block=(1, 1, 1, 1, 1),
        )
        return diffusers.MochiPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
            vae=vae.eval(),
            text_encoder=t5(),
            tokenizer=t5_tokenizer(16),
            transformer=awake(transformer).eval(),
        )


def hunyuan() -> Any:
    """HunyuanVideo: Llama's hidden states and CLIP's pooled ones, guidance embedded."""
    with seeded():
        transformer = HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=2,
            num_single_layers=2,
            num_refiner_layers=1,
            patch_size=1,
            text_embed_dim=16,
            pooled_projection_dim=16,
            rope_axes_dim=(2, 4, 4),
        )
        vae = AutoencoderKLHunyuanVideo(
            latent_channels=4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
        )
        return diffusers.HunyuanVideoPipeline(
            text_encoder=llama(layers=4).model,
            tokenizer=qwen_tokenizer(),
            transformer=awake(transformer).eval(),
            vae=vae.eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            text_encoder_2=long_clip(),
            tokenizer_2=tokenizer(),
        )


def _wan(channels: int = 16, **more: Any) -> Any:
    network = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=channels,
        out_channels=16,
        text_dim=16,
        freq_dim=32,
        ffn_dim=32,
        num_layers=4,
        rope_max_seq_len=32,
        **more,
    )
    return awake(network).eval()


def wan(kind: str = "WanPipeline", *, experts: int = 1, **more: Any) -> Any:
    """Wan: umT5, flow matching by UniPC; with two experts the second takes the times below half."""
    with seeded():
        vae = AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
        networks = {"transformer": _wan(), "transformer_2": _wan() if experts == 2 else None}
        return getattr(diffusers, kind)(
            tokenizer=t5_tokenizer(16),
            text_encoder=umt5(),
            vae=vae.eval(),
            scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
            boundary_ratio=0.5 if experts == 2 else None,
            **networks,
            **more,
        )


def clip(frames: int = 5, side: int = 16, **more: Any) -> dict[str, Any]:
    """Call arguments of a short and small video."""
    return {"height": side, "width": side, "num_frames": frames, "max_sequence_length": 16, **more}


CASES = (
    Case("cogvideox", "video", cogvideox, lambda: clip(9)),
    Case("ltx", "video", ltx, lambda: clip(9, 32)),
    Case("mochi", "video", mochi, lambda: clip(7)),
    Case(
        "hunyuan-video",
        "video",
        hunyuan,
        lambda: clip(5, prompt_template={"template": "{}", "crop_start": 0}),
    ),
    Case("wan", "video", wan, clip),
    Case("wan-2.2-high-noise", "video", lambda: wan(experts=2), clip, component="transformer"),
    Case("wan-2.2-low-noise", "video", lambda: wan(experts=2), clip, component="transformer_2"),
)
