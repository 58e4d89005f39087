"""AudioLDM: mel spectrograms by a latent U-Net, texts by CLAP (and T5 and GPT-2), sound by a vocoder."""

from __future__ import annotations

import string
from functools import partial
from typing import Any

import diffusers
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextModelWithProjection,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from tests.tiny.case import Case
from tests.tiny.parts import awake, seeded
from tests.tiny.texts import t5, t5_tokenizer

_BETAS: dict[str, Any] = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def roberta_tokenizer(length: int = 48) -> Any:
    """A RoBERTa tokenizer of single letters."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "\u0120", *string.ascii_letters, *string.digits, *".,:;!?-'\""]
    return RobertaTokenizer(vocab={w: k for k, w in enumerate(words)}, merges=[], model_max_length=length)


def clap() -> Any:
    """A CLAP model whose text side has 1 layer."""
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, projection_dim=16)
    text = dict(**sizes, vocab_size=len(roberta_tokenizer()), max_position_embeddings=64)
    sound = dict(
        spec_size=64,
        num_mel_bins=64,
        window_size=4,
        depths=[1, 1],
        num_attention_heads=[2, 2],
        num_hidden_layers=2,
        hidden_size=32,
        patch_embeds_hidden_size=16,
        patch_size=4,
        patch_stride=(4, 4),
        projection_dim=16,
    )
    return ClapModel(ClapConfig(text_config=text, audio_config=sound, projection_dim=16)).eval()


def listener() -> Any:
    """What cuts sound for CLAP; it is only used to rank several samples of one text."""
    return ClapFeatureExtractor(feature_size=64, hop_length=480)


def vocoder() -> Any:
    """A vocoder from 8 mel bins to sound."""
    return SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=8,
            sampling_rate=16000,
            upsample_initial_channel=16,
            upsample_rates=[2, 2],
            upsample_kernel_sizes=[4, 4],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    ).eval()


def spectrograms() -> Any:
    """A KL autoencoder of mel spectrograms, downsampling 2."""
    return diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    ).eval()


def second() -> Any:
    """AudioLDM 2: GPT-2 continues what CLAP and T5 say, and the U-Net attends to that and to T5."""
    with seeded():
        network = diffusers.AudioLDM2UNet2DConditionModel(
            sample_size=8,
            layers_per_block=2,
            block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=([None, 16, 16], [None, 16, 16]),
            attention_head_dim=2,
            norm_num_groups=4,
        )
        speaker = GPT2LMHeadModel(GPT2Config(n_embd=16, n_head=2, n_layer=1, vocab_size=16, n_positions=99))
        speaker.config.max_new_tokens = 4
        return diffusers.AudioLDM2Pipeline(
            vae=spectrograms(),
            text_encoder=clap(),
            text_encoder_2=t5(),
            projection_model=diffusers.AudioLDM2ProjectionModel(16, 16, 16),
            language_model=speaker.eval(),
            tokenizer=roberta_tokenizer(),
            tokenizer_2=t5_tokenizer(48),
            feature_extractor=listener(),
            unet=awake(network),
            scheduler=diffusers.DDIMScheduler(**_BETAS, clip_sample=False),
            vocoder=vocoder(),
        )


def first(kind: str, reader: Any, **more: Any) -> Any:
    """AudioLDM and MusicLDM: CLAP's embedding of the text joins the time as a class embedding."""
    with seeded():
        network = diffusers.UNet2DConditionModel(
            sample_size=8,
            layers_per_block=2,
            block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=(16, 32),
            attention_head_dim=2,
            norm_num_groups=4,
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=16,
            class_embeddings_concat=True,
        )
        return getattr(diffusers, kind)(
            vae=spectrograms(),
            text_encoder=reader(),
            tokenizer=roberta_tokenizer(),
            unet=awake(network),
            scheduler=diffusers.DDIMScheduler(**_BETAS, clip_sample=False),
            vocoder=vocoder(),
            **more,
        )


def clap_text() -> Any:
    """CLAP's text side alone."""
    return ClapTextModelWithProjection(clap().config.text_config).eval()


def dance() -> Any:
    """Dance Diffusion: sound from nothing."""
    with seeded():
        network = diffusers.UNet1DModel(
            sample_size=64,
            sample_rate=16,
            in_channels=2,
            out_channels=2,
            extra_in_channels=16,
            block_out_channels=(8, 8, 16),
            down_block_types=("DownBlock1DNoSkip", "DownBlock1D", "AttnDownBlock1D"),
            up_block_types=("AttnUpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"),
            flip_sin_to_cos=True,
            use_timestep_embedding=False,
            time_embedding_type="fourier",
            mid_block_type="UNetMidBlock1D",
        )
        return diffusers.DanceDiffusionPipeline(unet=network.eval(), scheduler=diffusers.IPNDMScheduler())


_short = partial(dict, audio_length_in_s=0.004)

CASES = (
    # One key at a time: GPT-2 counts the padding of the shorter text.
    Case("audioldm2", "audio", second, _short),
    Case("audioldm", "audio", partial(first, "AudioLDMPipeline", clap_text), _short),
    # The installed transformers answers with more than the embedding that the pipeline expects.
    Case("musicldm", "audio", lambda: first("MusicLDMPipeline", clap, feature_extractor=listener()), _short),
    Case("dance-diffusion", "unconditional", dance),
)
