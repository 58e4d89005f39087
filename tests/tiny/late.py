"""Tiny pipelines of families that came late: JoyImage with several references, Cosmos 2.5, Kandinsky 6, Sana-WM."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    JoyImageEditPlusTransformer3DModel,
    Kandinsky6Transformer3DModel,
    MMAudioVAE,
    MMAudioVocoder,
    SanaWMTransformer3DModel,
    UniPCMultistepScheduler,
)

from tests.tiny.case import Case
from tests.tiny.dits_parts import long_clip
from tests.tiny.guardrail import AllIsWell
from tests.tiny.images_edit import reader
from tests.tiny.images_readers import joy
from tests.tiny.parts import awake, picture, seeded, small
from tests.tiny.pipelines import tokenizer
from tests.tiny.texts import gemma2, gemma_tokenizer, qwen_tokenizer, qwen_vl
from tests.tiny.videos import clip
from tests.tiny.videos_cosmos import cosmos_transformer
from tests.tiny.videos_sound import ltx2


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
        transformer = cosmos_transformer(
            17,
            extra_pos_embed_type=None,
            use_crossattn_projection=True,
            crossattn_proj_in_channels=32,
            encoder_hidden_states_channels=16,
        )
        return diffusers.Cosmos2_5_PredictBasePipeline(
            text_encoder=qwen_vl(),
            tokenizer=words,
            transformer=transformer,
            vae=AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval(),
            scheduler=UniPCMultistepScheduler(
                use_flow_sigmas=True,
                prediction_type="flow_prediction",
                use_karras_sigmas=True,
                final_sigmas_type="sigma_min",
            ),
            safety_checker=AllIsWell().eval(),
        )


def kandinsky6() -> Any:
    """Kandinsky 6: video and sound, or video alone; a picture to begin with is one frame more."""
    with seeded():
        transformer = Kandinsky6Transformer3DModel(
            in_visual_dim=4,
            out_visual_dim=4,
            in_text_dim=16,
            in_text_dim2=16,
            in_audio_dim=4,
            out_audio_dim=4,
            time_dim=16,
            model_dim=24,
            ff_dim=48,
            num_text_blocks=1,
            num_visual_blocks=4,
            axes_dims=(4, 4, 4),
            visual_token_type_num_embeddings=2,
        )
        vae = AutoencoderKLHunyuanVideo(
            latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
        )
        sound = MMAudioVAE(
            mel_bins=8,
            latent_channels=4,
            hidden_channels=16,
            channel_multipliers=(1, 2),
            layers_per_block=1,
            sample_rate=1000,
            hop_length=64,
        )
        vocoder = MMAudioVocoder(
            num_mels=8,
            upsample_initial_channel=16,
            upsample_rates=(2, 2),
            upsample_kernel_sizes=(4, 4),
            resblock_kernel_sizes=(3,),
            resblock_dilation_sizes=((1, 3, 5),),
        )
        return diffusers.Kandinsky6TI2VAPipeline(
            transformer=awake(transformer),
            vae=vae.eval(),
            text_encoder=qwen_vl(),
            tokenizer=reader(qwen_tokenizer(length=2048)),
            text_encoder_2=long_clip(),
            tokenizer_2=tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
            audio_vae=sound.eval(),
            vocoder=vocoder.eval(),
        )


def sana_wm() -> Any:
    """Sana-WM: a first frame and a camera's way; it takes two texts for a pair, so one at a time."""
    vae = ltx2().vae
    with seeded():
        transformer = SanaWMTransformer3DModel(
            in_channels=4,
            num_layers=4,
            hidden_size=32,
            num_attention_heads=2,
            softmax_every_n=2,
            linear_head_dim=16,
            chunk_plucker_channels=6 * vae.temporal_compression_ratio,
            chunk_plucker_post_attn_blocks=4,
            caption_channels=16,
            image_size=32,
        )
        return diffusers.SanaWMPipeline(
            tokenizer=gemma_tokenizer(),
            text_encoder=gemma2(),
            vae=vae,
            transformer=awake(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(),
        )


def seen(**more: Any) -> dict[str, Any]:
    """Arguments of a short clip, with Kandinsky 6's long instruction for its language model."""
    return {"height": 32, "width": 32, "num_frames": 5, "max_sequence_length": 1024, **more}


def walked() -> dict[str, Any]:
    """Arguments of a short walk for Sana-WM, without its long instruction."""
    camera = dict(action="w-9", intrinsics=[30.0, 30.0, 16.0, 16.0])
    return clip(9, 32, image=picture(32), chi_prompt=[""], **camera)


CASES = (
    Case("joyimage-plus-references", "editing", joy_plus, lambda: small(size=64, images=[picture(64)])),
    Case("cosmos2.5-predict", "video", cosmos25, lambda: clip(9, 32, max_sequence_length=128)),
    Case("kandinsky6", "video and sound", kandinsky6, seen),
    Case("sana-wm", "video", sana_wm, walked),
)
