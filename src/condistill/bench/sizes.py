"""Sizes: teachers and students to be timed, the published ones with random weights.

>>> sorted(SIZES)
['mmdit', 'sd', 'sdxl', 'world']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from condistill.bench.plain import Arguments

CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
CLIP_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
}
TINY_TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TINY_UNET: dict[str, Any] = {"sample_size": 8, "cross_attention_dim": 16, "norm_num_groups": 4}
# The published configs of Stable Diffusion 3 medium, of 2 billion parameters.
SD3: dict[str, Any] = {
    "sample_size": 128,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}
TINY_SD3: dict[str, Any] = {
    "sample_size": 8,
    "num_layers": 6,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "caption_projection_dim": 16,
    "pooled_projection_dim": 32,
    "pos_embed_max_size": 16,
}
BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


@dataclass(frozen=True)
class Size:
    """A teacher and its students.

    Attributes:
        pipeline: whether tiny -> the pipeline.
        students: the one that is trained, and two more for training three at once.
        arguments: of the denoiser in the plain loop.
        batch: samples a step; the published recipe's at a time.
        needs_gpu: whether the full size is of no use on a CPU.
        options: of our training: `TrainOptions` on a GPU.
        variants: name -> what our training is told otherwise, timed beside it.
        plain: of the plain loop.
        call: the pipeline's arguments for making D.
    """

    pipeline: Callable[[bool], Any]
    students: tuple[str, str, str]
    arguments: Arguments
    batch: int = 64
    needs_gpu: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plain: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=lambda: {"num_inference_steps": 25, "guidance_scale": 7.5})


def _emoji(tiny: bool) -> Any:
    from condistill.teacher.loading import load_pipeline

    return load_pipeline("emoji")


def _sd(tiny: bool) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    small = {**TINY_UNET, "block_out_channels": [16, 16, 32, 32], "attention_head_dim": 2}
    return StableDiffusionPipeline(
        unet=_unet("sd-v1-4", small if tiny else {}), vae=_vae(4),
        scheduler=cast(Any, DDIMScheduler(**BETAS, clip_sample=False)),
        text_encoder=_text(TINY_TEXT if tiny else CLIP_L), tokenizer=_tokenizer(), safety_checker=cast(Any, None),
        feature_extractor=cast(Any, None), requires_safety_checker=False,
    )  # fmt: skip


def _sdxl(tiny: bool) -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    small = {
        **TINY_UNET,
        "block_out_channels": [16, 32, 32],
        "attention_head_dim": [2, 2, 4],
        "cross_attention_dim": 32,
    }
    small |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 16}
    return StableDiffusionXLPipeline(
        unet=_unet("sdxl", small if tiny else {}), scheduler=cast(Any, EulerDiscreteScheduler(**BETAS)), vae=_vae(4),
        text_encoder=_text(TINY_TEXT if tiny else CLIP_L), tokenizer=_tokenizer(),
        text_encoder_2=_text(TINY_TEXT if tiny else CLIP_G, projected=True), tokenizer_2=_tokenizer(),
        add_watermarker=False,
    )  # fmt: skip


def _mmdit(tiny: bool) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(**(TINY_SD3 if tiny else SD3), in_channels=16, out_channels=16),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=_vae(16),
        text_encoder=_text(TINY_TEXT if tiny else CLIP_L, projected=True), tokenizer=_tokenizer(),
        text_encoder_2=_text(TINY_TEXT if tiny else CLIP_G, projected=True), tokenizer_2=_tokenizer(),
        text_encoder_3=cast(Any, None), tokenizer_3=cast(Any, None),
    )  # fmt: skip


def _unet(name: str, changes: Mapping[str, Any]) -> Any:
    from condistill.students import load_config

    network, config = load_config(name)
    return network(**{**config, **changes})


def _tokenizer() -> Any:
    from transformers import CLIPTokenizer

    from condistill.world import emoji

    return CLIPTokenizer.from_pretrained(emoji.folder() / "tokenizer", model_max_length=77)


def _text(layout: Mapping[str, Any], *, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    end = _tokenizer().eos_token_id
    config = CLIPTextConfig(**layout, vocab_size=49408, projection_dim=layout["hidden_size"], eos_token_id=end)
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def _vae(latent_channels: int) -> Any:
    """An autoencoder that is never run; eight pixels a latent, as the pipelines expect."""
    from diffusers import AutoencoderKL

    layout: dict[str, Any] = {
        "block_out_channels": (4, 4, 4, 4),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    return AutoencoderKL(**layout, norm_num_groups=2, latent_channels=latent_channels)


def _told_text(pipeline: Any, prompts: Sequence[str], x_t: Tensor, t: Tensor) -> dict[str, Any]:
    tokens = pipeline.tokenizer(
        list(prompts), padding="max_length", max_length=pipeline.tokenizer.model_max_length, truncation=True,
        return_tensors="pt",
    )  # fmt: skip
    text = pipeline.text_encoder(tokens.input_ids.to(x_t.device))[0]
    return {"sample": x_t, "timestep": t, "encoder_hidden_states": text}


def _told_text_and_size(pipeline: Any, prompts: Sequence[str], x_t: Tensor, t: Tensor) -> dict[str, Any]:
    text, _, pooled, _ = pipeline.encode_prompt(list(prompts), device=x_t.device, do_classifier_free_guidance=False)
    if pipeline.config.force_zeros_for_empty_prompt:  # the null condition of Stable Diffusion XL is zeros
        told = torch.tensor([bool(prompt) for prompt in prompts], device=x_t.device, dtype=text.dtype)
        text, pooled = text * told[:, None, None], pooled * told[:, None]
    edge = pipeline.default_sample_size * pipeline.vae_scale_factor
    sizes = torch.tensor([[edge, edge, 0, 0, edge, edge]], device=x_t.device, dtype=x_t.dtype).expand(len(x_t), 6)
    more = {"text_embeds": pooled, "time_ids": sizes}
    return {"sample": x_t, "timestep": t, "encoder_hidden_states": text, "added_cond_kwargs": more}


def _told_joint_text(pipeline: Any, prompts: Sequence[str], x_t: Tensor, t: Tensor) -> dict[str, Any]:
    some = list(prompts)
    text, _, pooled, _ = pipeline.encode_prompt(some, some, some, device=x_t.device, do_classifier_free_guidance=False)
    return {"hidden_states": x_t, "timestep": t, "encoder_hidden_states": text, "pooled_projections": pooled}


_ON_GPU = {"precision": "bf16", "teacher_precision": "bf16"}
_PUBLISHED = {"gradient_checkpointing": True}
SIZES: dict[str, Size] = {
    "world": Size(
        _emoji, ("b-base", "b-small", "b-tiny"), _told_text, needs_gpu=False,
        options={"teacher_precision": "bf16", "channels_last": True}, variants={"bf16": {"precision": "bf16"}},
        call={"num_inference_steps": 12, "guidance_scale": 2.0},
    ),
    "sd": Size(
        _sd, ("b-base", "b-small", "b-tiny"), _told_text, plain=_PUBLISHED,
        options={**_ON_GPU, "channels_last": True, "micro_batch": 32},
    ),
    "sdxl": Size(
        _sdxl, ("koala-700m", "koala-1b", "vega"), _told_text_and_size, batch=8, plain=_PUBLISHED,
        options={**_ON_GPU, "channels_last": True, "micro_batch": 4, "gradient_checkpointing": True},
    ),
    "mmdit": Size(
        _mmdit, ("depth=0.5", "depth=0.67", "depth=0.34"), _told_joint_text, batch=16, plain=_PUBLISHED,
        options={**_ON_GPU, "micro_batch": 8, "gradient_checkpointing": True},
    ),
}  # fmt: skip
