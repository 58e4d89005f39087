"""Audio by transformers that match flows: ACE-Step, Stable Audio 3, LongCat."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder
from transformers import T5GemmaConfig, T5GemmaEncoderModel

from tests.tiny.case import Case
from tests.tiny.parts import awake, seeded
from tests.tiny.texts import decoder_sizes, gemma_tokenizer, qwen3, qwen_tokenizer, t5_tokenizer, umt5


def oobleck(channels: int) -> Any:
    """An autoencoder of stereo waveforms, 4 samples a second, downsampling 2."""
    return diffusers.AutoencoderOobleck(
        encoder_hidden_size=6,
        downsampling_ratios=[1, 2],
        decoder_channels=3,
        decoder_input_channels=channels,
        audio_channels=2,
        channel_multiples=[2, 4],
        sampling_rate=4,
    ).eval()


def ace_step() -> Any:
    """ACE-Step: music from a description and lyrics, which are packed into one sequence without a mask."""
    sizes: dict[str, Any] = dict(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_key_value_heads=2)
    sizes |= dict(head_dim=8, sliding_window=16)
    with seeded():
        network = diffusers.AceStepTransformer1DModel(
            **sizes, num_hidden_layers=4, in_channels=24, audio_acoustic_hidden_dim=8
        )
        reader = AceStepConditionEncoder(
            **sizes,
            text_hidden_dim=16,
            timbre_hidden_dim=8,
            num_lyric_encoder_hidden_layers=1,
            num_timbre_encoder_hidden_layers=1,
        )
        return diffusers.AceStepPipeline(
            vae=oobleck(8),
            text_encoder=qwen3(layers=1),
            tokenizer=qwen_tokenizer(),
            transformer=awake(network),
            condition_encoder=reader.eval(),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
        )


def stable_audio_3(kind: str = "", *, stochastic: bool = False) -> Any:
    """Stable Audio 3: a DiT whose condition are a text and the seconds wanted."""
    with seeded():
        network = diffusers.StableAudio3DiTModel(
            io_channels=8,
            embed_dim=16,
            depth=4,
            num_heads=2,
            cond_token_dim=16,
            global_cond_dim=16,
            local_add_cond_dim=9,
            timestep_features_dim=16,
            num_memory_tokens=2,
        )
        codec = diffusers.AutoencoderSAME(
            patch_size=2,
            encoder_channels=8,
            encoder_c_mults=[1],
            encoder_strides=[2],
            encoder_transformer_depths=[1],
            latent_dim=8,
            dim_heads=8,
            sampling_rate=8,
        )
        text = {**decoder_sizes(16, layers=1), "vocab_size": len(gemma_tokenizer())}
        reader = T5GemmaEncoderModel(T5GemmaConfig(encoder=text, decoder=text, is_encoder_decoder=False))
        return getattr(diffusers, f"StableAudio3{kind}Pipeline")(
            vae=codec.eval(),
            text_encoder=reader.eval(),
            tokenizer=gemma_tokenizer(),
            duration_embedder=StableAudio3DurationEmbedder(16, 16),
            transformer=awake(network),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, stochastic_sampling=stochastic),
        )


def longcat_audio() -> Any:
    """LongCat's audio DiT: the time runs from 0 (noise) to 1."""
    with seeded():
        network = diffusers.LongCatAudioDiTTransformer(
            dit_dim=16, dit_depth=4, dit_heads=2, dit_text_dim=16, latent_dim=8
        )
        codec = diffusers.LongCatAudioDiTVae(
            channels=8,
            c_mults=[1, 2],
            strides=[2],
            latent_dim=8,
            encoder_latent_dim=16,
            downsampling_ratio=2,
            sample_rate=8,
        )
        return diffusers.LongCatAudioDiTPipeline(
            vae=codec.eval(),
            text_encoder=umt5(),
            tokenizer=t5_tokenizer(48),
            transformer=awake(network),
            scheduler=None,
        )


def sound(channels: int, samples: int) -> torch.Tensor:
    """A seeded waveform."""
    with seeded(2):
        return torch.randn(1, channels, samples).clamp(-1, 1)


_second = partial(dict, duration=4.0)

CASES = (
    Case("ace-step", "audio", ace_step, partial(dict, audio_duration=4.0)),
    Case("stable-audio-3", "audio", stable_audio_3, _second),
    Case("stable-audio-3-stochastic", "audio", partial(stable_audio_3, stochastic=True), _second),
    Case("stable-audio-3-audio", "audio", partial(stable_audio_3, "AudioToAudio"), lambda: _second(audio=sound(2, 32))),
    Case(
        "stable-audio-3-inpaint",
        "audio",
        partial(stable_audio_3, "Inpaint"),
        lambda: _second(audio=sound(2, 32), mask_start_seconds=1.0, mask_end_seconds=3.0),
    ),
    Case("longcat-audio", "audio", longcat_audio, partial(dict, audio_duration_s=2.0)),
)
