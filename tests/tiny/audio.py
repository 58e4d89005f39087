"""Tiny audio pipelines: Stable Audio."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderOobleck,
    CosineDPMSolverMultistepScheduler,
    DPMSolverMultistepScheduler,
    StableAudioDiTModel,
    StableAudioPipeline,
)
from diffusers.pipelines.stable_audio import StableAudioProjectionModel

from tests.tiny.case import Case
from tests.tiny.parts import awake, seeded
from tests.tiny.texts import t5, t5_tokenizer


def stable_audio(scheduler: Any = None) -> Any:
    """Stable Audio: a DiT over waveform latents, start and end seconds beside the text."""
    with seeded():
        transformer = StableAudioDiTModel(
            sample_size=4,
            in_channels=3,
            out_channels=3,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            num_key_value_attention_heads=2,
            cross_attention_dim=16,
            cross_attention_input_dim=16,
            time_proj_dim=8,
            global_states_input_dim=32,
        )
        vae = AutoencoderOobleck(
            encoder_hidden_size=6,
            downsampling_ratios=[1, 2],
            decoder_channels=3,
            decoder_input_channels=3,
            audio_channels=2,
            channel_multiples=[2, 4],
            sampling_rate=4,
        )
        return StableAudioPipeline(
            vae=vae.eval(),
            text_encoder=t5(),
            projection_model=awake(StableAudioProjectionModel(16, 16, 0, 32)).eval(),
            tokenizer=t5_tokenizer(16),
            transformer=awake(transformer).eval(),
            scheduler=scheduler or CosineDPMSolverMultistepScheduler(solver_order=2, sigma_data=1.0),
        )


CASES = (
    Case("stable-audio", "audio", stable_audio, lambda: dict(audio_end_in_s=2.0)),
    Case(
        "stable-audio-vp", "audio", lambda: stable_audio(DPMSolverMultistepScheduler()),
        lambda: dict(audio_end_in_s=2.0),
    ),
)  # fmt: skip
