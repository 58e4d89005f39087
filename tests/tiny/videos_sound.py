"""Tiny LTX-2 pipelines: video and sound are denoised together, each by a sampler of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel, LTX2TextConnectors, LTX2Vocoder
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

from tests.tiny.case import Case
from tests.tiny.parts import awake, picture, seeded
from tests.tiny.texts import gemma, gemma_tokenizer


def ltx2(kind: str = "LTX2Pipeline") -> Any:
    """LTX-2: packed latents of both, all layers of a language model through connectors."""
    with seeded():
        transformer = LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=2,
            caption_channels=16,
            rope_double_precision=False,
        )
        connectors = LTX2TextConnectors(
            caption_channels=16,
            text_proj_in_factor=3,
            video_connector_num_attention_heads=2,
            video_connector_attention_head_dim=8,
            video_connector_num_layers=1,
            video_connector_num_learnable_registers=None,
            audio_connector_num_attention_heads=2,
            audio_connector_attention_head_dim=8,
            audio_connector_num_layers=1,
            audio_connector_num_learnable_registers=None,
            connector_rope_base_seq_len=32,
            rope_double_precision=False,
        )
        vae = AutoencoderKLLTX2Video(
            latent_channels=4,
            block_out_channels=(8,),
            decoder_block_out_channels=(8,),
            layers_per_block=(1,),
            decoder_layers_per_block=(1, 1),
            spatio_temporal_scaling=(True,),
            decoder_spatio_temporal_scaling=(True,),
            decoder_inject_noise=(False, False),
            down_block_types=("LTX2VideoDownBlock3D",),
            downsample_type=("spatial",),
            upsample_residual=(False,),
            upsample_factor=(1,),
        )
        sound = AutoencoderKLLTX2Audio(
            base_channels=4, ch_mult=(1,), num_res_blocks=1, resolution=32, latent_channels=2, mel_bins=8
        )
        vocoder = LTX2Vocoder(
            in_channels=16,
            hidden_channels=32,
            upsample_kernel_sizes=[4, 4],
            upsample_factors=[2, 2],
            resnet_kernel_sizes=[3],
            resnet_dilations=[[1, 3, 5]],
            output_sampling_rate=16000,
        )
        return getattr(diffusers, kind)(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae.eval(),
            audio_vae=sound.eval(),
            text_encoder=gemma(),
            tokenizer=gemma_tokenizer(),
            connectors=awake(connectors),
            transformer=awake(transformer),
            vocoder=vocoder.eval(),
        )


def ltx2_upsample() -> Any:
    """LTX-2's upsampler of latents: one pass, no noise."""
    with seeded():
        network = LTX2LatentUpsamplerModel(in_channels=4, mid_channels=32, num_blocks_per_stage=1)
    return diffusers.LTX2LatentUpsamplePipeline(vae=ltx2().vae, latent_upsampler=network.eval())


def first() -> Any:
    """A first frame that is given."""
    return [LTX2VideoCondition(frames=picture(32), index=0, strength=1.0, crf=0)]


def dfr(**more: Any) -> dict[str, Any]:
    """A short clip's arguments for sampling at two frame rates, which has no guidance."""
    wanted = {name: value for name, value in talk(**more).items() if not name.startswith("spatio")}
    return {**wanted, "generate_slots": False}


def talk(**more: Any) -> dict[str, Any]:
    """A short clip's arguments; the last block is the one that guidance leaves out."""
    size = dict(height=32, width=32, num_frames=5, max_sequence_length=16)
    return {**size, "spatio_temporal_guidance_blocks": [1], **more}


CASES = (
    Case("ltx2", "video and sound", ltx2, talk),
    Case(
        "ltx2-image2video",
        "video and sound",
        partial(ltx2, "LTX2ImageToVideoPipeline"),
        lambda: talk(image=picture(32), image_crf=0),
    ),
    Case("ltx2-condition", "video and sound", partial(ltx2, "LTX2ConditionPipeline"), lambda: talk(conditions=first())),
    Case(
        "ltx2-in-context",
        "video and sound",
        partial(ltx2, "LTX2InContextPipeline"),
        lambda: talk(conditions=first()),
    ),
    Case("ltx2-hdr", "video and sound", partial(ltx2, "LTX2HDRPipeline"), talk),
    Case("ltx2-dfr", "video and sound", partial(ltx2, "LTX2DFRPipeline"), dfr),
    Case("ltx2-latent-upsample", "video and sound", ltx2_upsample, lambda: dict(height=32, width=32, num_frames=5)),
)
