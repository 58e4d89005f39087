"""Text-to-image pipelines whose transformer reads the text by cross-attention (or, Lumina 2, along with the image)."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from diffusers import (
    AuraFlowTransformer2DModel,
    CogVideoXDDIMScheduler,
    CogView3PlusTransformer2DModel,
    CogView4Transformer2DModel,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HunyuanDiT2DControlNetModel,
    HunyuanDiT2DModel,
    Lumina2Transformer2DModel,
    LuminaNextDiT2DModel,
    PixArtTransformer2DModel,
)

from tests.tiny import texts
from tests.tiny.case import Case
from tests.tiny.dits_parts import awake, bold, flow_vae, picture, seeded, small, still
from tests.tiny.pipelines import vae


def pixart(name: str, **more: Any) -> Any:
    """A PixArt pipeline, 4 blocks; Alpha's is told the image's size, as that of 1024 pixels is."""
    alpha = name == "PixArtAlphaPipeline"
    with seeded():
        transformer = PixArtTransformer2DModel(
            sample_size=128 if alpha else 8,
            num_layers=4,
            num_attention_heads=2,
            attention_head_dim=12,
            cross_attention_dim=24,
            caption_channels=16,
            norm_num_groups=4,
            use_additional_conditions=alpha,
        )
        return getattr(diffusers, name)(
            transformer=awake(transformer),
            vae=vae(),
            text_encoder=texts.t5(),
            tokenizer=texts.t5_tokenizer(),
            scheduler=DPMSolverMultistepScheduler(),
            **more,
        )


def lumina() -> Any:
    """A Lumina Next pipeline, 4 blocks."""
    with seeded():
        transformer = LuminaNextDiT2DModel(
            sample_size=32,
            hidden_size=24,
            num_layers=4,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            cross_attention_dim=16,
        )
        torch.nn.init.normal_(transformer.pad_token, std=0.02)  # the class leaves it to a checkpoint
        return diffusers.LuminaPipeline(**_gemma_parts(transformer, text_encoder=texts.gemma()))


def lumina2() -> Any:
    """A Lumina 2 pipeline, 4 blocks after one refiner each."""
    with seeded():
        transformer = Lumina2Transformer2DModel(
            sample_size=8,
            in_channels=4,
            hidden_size=24,
            num_layers=4,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 4, 4),
            axes_lens=(300, 32, 32),
            cap_feat_dim=16,
        )
        return diffusers.Lumina2Pipeline(**_gemma_parts(transformer, text_encoder=texts.gemma2()))


def _gemma_parts(transformer: Any, *, text_encoder: Any) -> dict[str, Any]:
    return dict(
        transformer=awake(transformer),
        vae=flow_vae(4),
        text_encoder=text_encoder,
        tokenizer=texts.gemma_tokenizer(length=256),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def hunyuan_dit(name: str, **more: Any) -> Any:
    """A Hunyuan DiT pipeline, 8 blocks: two encoders of text, skips from the first half to the second."""
    with seeded():
        if "ControlNet" in name:
            more["controlnet"] = awake(HunyuanDiT2DControlNetModel(**HUNYUAN, transformer_num_layers=8))
        transformer = HunyuanDiT2DModel(**HUNYUAN, num_layers=8)
        return getattr(diffusers, name)(
            transformer=awake(transformer),
            vae=vae(),
            text_encoder=texts.bert(),
            tokenizer=texts.bert_tokenizer(77),
            text_encoder_2=texts.t5(),
            tokenizer_2=texts.t5_tokenizer(256),
            scheduler=DDPMScheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            **more,
        )


HUNYUAN: dict[str, Any] = dict(
    num_attention_heads=2,
    attention_head_dim=8,
    hidden_size=16,
    in_channels=4,
    patch_size=2,
    sample_size=8,
    cross_attention_dim=16,
    cross_attention_dim_t5=16,
    pooled_projection_dim=16,
)


def cogview3() -> Any:
    """A CogView 3 Plus pipeline, 4 blocks."""
    with seeded():
        return diffusers.CogView3PlusPipeline(
            transformer=awake(CogView3PlusTransformer2DModel(**COGVIEW, pos_embed_max_size=16)),
            vae=vae(),
            text_encoder=texts.t5(),
            tokenizer=texts.t5_tokenizer(),
            scheduler=CogVideoXDDIMScheduler(),
        )


def cogview4(name: str) -> Any:
    """A CogView 4 pipeline, 4 blocks; the control variant reads the image as further channels."""
    channels = 8 if "Control" in name else 4
    with seeded():
        transformer = CogView4Transformer2DModel(**{**COGVIEW, "in_channels": channels}, rope_axes_dim=(16, 16))
        return getattr(diffusers, name)(
            transformer=awake(transformer),
            vae=vae(),
            text_encoder=texts.glm(),
            tokenizer=texts.glm_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(),
        )


COGVIEW: dict[str, Any] = dict(
    in_channels=4,
    out_channels=4,
    num_layers=4,
    num_attention_heads=2,
    attention_head_dim=8,
    text_embed_dim=16,
    time_embed_dim=16,
    condition_dim=8,
    sample_size=8,
)


def aura_flow() -> Any:
    """An Aura Flow pipeline, 2 double and 4 single blocks."""
    with seeded():
        transformer = AuraFlowTransformer2DModel(
            sample_size=8,
            num_mmdit_layers=2,
            num_single_dit_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=16,
            caption_projection_dim=16,
            pos_embed_max_size=64,
        )
        return diffusers.AuraFlowPipeline(
            transformer=bold(awake(transformer)),
            vae=vae(),
            text_encoder=texts.umt5(),
            tokenizer=texts.t5_tokenizer(),
            scheduler=FlowMatchEulerDiscreteScheduler(),
        )


_exact = partial(small, use_resolution_binning=False)
_plain = partial(_exact, clean_caption=False, max_sequence_length=32)

CASES = (
    Case("pixart-alpha", "DiT", partial(pixart, "PixArtAlphaPipeline"), _plain),
    Case("pixart-sigma", "DiT", partial(pixart, "PixArtSigmaPipeline"), _plain),
    Case(
        "pixart-sigma-pag",
        "guidance",
        partial(pixart, "PixArtSigmaPAGPipeline", pag_applied_layers="blocks.1"),
        _plain,
    ),
    Case("lumina", "DiT", lumina, partial(small, clean_caption=False, max_sequence_length=64)),
    Case("lumina2", "DiT", lumina2, partial(small, max_sequence_length=256)),
    Case("hunyuan-dit", "DiT", partial(hunyuan_dit, "HunyuanDiTPipeline"), _exact),
    Case(
        "hunyuan-dit-pag",
        "guidance",
        partial(hunyuan_dit, "HunyuanDiTPAGPipeline", pag_applied_layers="blocks.1"),
        _exact,
    ),
    Case(
        "hunyuan-dit-controlnet",
        "control",
        partial(hunyuan_dit, "HunyuanDiTControlNetPipeline"),
        lambda: _exact(control_image=picture()),
        component="transformer",
    ),
    Case("cogview3-plus", "DiT", cogview3, partial(small, max_sequence_length=32)),
    Case("cogview4", "DiT", partial(cogview4, "CogView4Pipeline"), partial(small, max_sequence_length=32)),
    Case(
        "cogview4-control",
        "control",
        partial(cogview4, "CogView4ControlPipeline"),
        partial(still, "control_image"),
    ),
    Case("aura-flow", "MMDiT", aura_flow, partial(small, max_sequence_length=32)),
)
