"""Tiny video transformers beyond the usual ones: Allegro, EasyAnimate, Sana, MotifVideo, Kandinsky 5."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import (
    AllegroTransformer3DModel,
    AutoencoderKLAllegro,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLMagvit,
    AutoencoderKLWan,
    ClassifierFreeGuidance,
    DPMSolverMultistepScheduler,
    EasyAnimateTransformer3DModel,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    MotifVideoTransformer3DModel,
    SanaVideoTransformer3DModel,
)
from transformers import (
    SiglipImageProcessor,
    SiglipVisionConfig,
    T5Gemma2EncoderConfig,
    T5Gemma2TextConfig,
)
from transformers.models.t5gemma2.modeling_t5gemma2 import T5Gemma2Encoder

from tests.tiny.case import Case
from tests.tiny.dits_parts import kandinsky5_transformer, long_clip
from tests.tiny.parts import awake, picture, seeded
from tests.tiny.pipelines import tokenizer
from tests.tiny.texts import decoder_sizes, gemma2, gemma_tokenizer, qwen_tokenizer, qwen_vl, t5, t5_tokenizer
from tests.tiny.videos import clip
from tests.tiny.videos_given import frames


def allegro() -> Any:
    """Allegro: the prompt as one more axis, rotary positions of a grid."""
    with seeded():
        transformer = AllegroTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            cross_attention_dim=24,
            num_layers=4,
            sample_width=4,
            sample_height=4,
            sample_frames=2,
            caption_channels=16,
        )
        vae = AutoencoderKLAllegro(
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
        )
        return diffusers.AllegroPipeline(
            tokenizer=t5_tokenizer(16),
            text_encoder=t5(),
            vae=vae.eval(),
            transformer=awake(transformer),
            scheduler=EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear"),
        )


def easy_animate(kind: str = "EasyAnimatePipeline", channels: int = 4) -> Any:
    """EasyAnimate: Qwen's hidden states beside the frames; further channels take what is given."""
    with seeded():
        transformer = EasyAnimateTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=channels,
            out_channels=4,
            patch_size=2,
            num_layers=4,
            mmdit_layers=2,
            time_embed_dim=8,
            text_embed_dim=16,
        )
        vae = AutoencoderKLMagvit(
            latent_channels=4,
            block_out_channels=(8, 8),
            down_block_types=("SpatialDownBlock3D", "SpatialTemporalDownBlock3D"),
            up_block_types=("SpatialUpBlock3D", "SpatialTemporalUpBlock3D"),
            layers_per_block=1,
            norm_num_groups=2,
            spatial_group_norm=False,
        )
        return getattr(diffusers, kind)(
            vae=vae.eval(),
            text_encoder=qwen_vl(),
            tokenizer=qwen_tokenizer(),
            transformer=awake(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(),
        )


def _wan_vae() -> Any:
    return AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval()


def sana_video(kind: str) -> Any:
    """Sana's video networks: linear attention, Gemma, Wan's autoencoder."""
    with seeded():
        transformer = SanaVideoTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            num_layers=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=12,
            cross_attention_dim=24,
            caption_channels=16,
            rope_max_seq_len=32,
        )
        flow = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0)
        scheduler = FlowMatchEulerDiscreteScheduler() if "Image" in kind else flow
        return getattr(diffusers, kind)(
            tokenizer=gemma_tokenizer(),
            text_encoder=gemma2(),
            vae=_wan_vae(),
            transformer=awake(transformer),
            scheduler=scheduler,
        )


def seeing() -> Any:
    """T5Gemma 2's encoder of one layer, whose eyes are Siglip's."""
    sizes = dict(
        decoder_sizes(16, layers=1), vocab_size=len(t5_tokenizer()), layer_types=["full_attention"], dropout_rate=0.0
    )
    eyes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16)
    vision = SiglipVisionConfig(**eyes, patch_size=8)
    config = T5Gemma2EncoderConfig(text_config=T5Gemma2TextConfig(**sizes), vision_config=vision, mm_tokens_per_image=4)
    return T5Gemma2Encoder(config, eoi_token_index=1).eval()


def motif(kind: str) -> Any:
    """MotifVideo: channels for a picture and its mask, guided by a guider."""
    with seeded():
        transformer = MotifVideoTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            num_single_layers=2,
            text_embed_dim=16,
            image_embed_dim=16 if "Image" in kind else None,
            rope_axes_dim=(2, 2, 4),
        )
        return getattr(diffusers, kind)(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=_wan_vae(),
            text_encoder=seeing(),
            tokenizer=t5_tokenizer(16),
            transformer=awake(transformer),
            guider=ClassifierFreeGuidance(guidance_scale=4.0),
            feature_extractor=SiglipImageProcessor(size={"height": 16, "width": 16}),
        )


def kandinsky5_video(kind: str) -> Any:
    """Kandinsky 5's video networks: channels last; two further kinds of channels take a first frame and its mask."""
    with seeded():
        vae = AutoencoderKLHunyuanVideo(
            latent_channels=4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
        )
        return getattr(diffusers, kind)(
            transformer=kandinsky5_transformer(visual_cond=True, attention_type="regular"),
            vae=vae.eval(),
            text_encoder=qwen_vl(),
            tokenizer=qwen_tokenizer(),
            text_encoder_2=long_clip(),
            tokenizer_2=tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        )


def few(**more: Any) -> dict[str, Any]:
    """A clip's arguments for Sana, without the long instruction for its language model."""
    plain = dict(use_resolution_binning=False, complex_human_instruction=None, max_sequence_length=16)
    return {"height": 32, "width": 32, "frames": 5, **plain, **more}


def easy(**more: Any) -> dict[str, Any]:
    """A clip's arguments for EasyAnimate, which needs a negative prompt for its guidance."""
    return {"height": 16, "width": 16, "num_frames": 5, "guidance_scale": 1.0, **more}


CASES = (
    # its autoencoder decodes in tiles only, and these are larger than a tiny clip
    Case("allegro", "video", allegro, lambda: clip(8, output_type="latent")),
    Case("easy-animate", "video", easy_animate, easy),
    Case(
        "easy-animate-control",
        "video",
        partial(easy_animate, "EasyAnimateControlPipeline", 8),
        lambda: easy(control_video=frames(5)),
    ),
    Case(
        "easy-animate-inpaint",
        "video",
        partial(easy_animate, "EasyAnimateInpaintPipeline", 9),
        lambda: easy(video=torch.full((1, 3, 5, 16, 16), 0.5), mask_video=torch.full((1, 1, 5, 16, 16), 255.0)),
    ),
    Case("sana-video", "video", partial(sana_video, "SanaVideoPipeline"), few),
    Case(
        "sana-image2video",
        "video",
        partial(sana_video, "SanaImageToVideoPipeline"),
        lambda: few(image=picture(32)),
    ),
    Case("motif-video", "video", partial(motif, "MotifVideoPipeline"), clip),
    Case("motif-image2video", "video", partial(motif, "MotifVideoImage2VideoPipeline"), lambda: clip(image=picture())),
    Case(
        "kandinsky5-t2v",
        "video",
        partial(kandinsky5_video, "Kandinsky5T2VPipeline"),
        lambda: clip(5, max_sequence_length=512),
    ),
    Case(
        "kandinsky5-i2v",
        "video",
        partial(kandinsky5_video, "Kandinsky5I2VPipeline"),
        lambda: clip(5, max_sequence_length=512, image=picture()),
    ),
)
