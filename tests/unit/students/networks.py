"""Tiny networks of many classes: config, and the arguments of one call for one item."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import Tensor

HEADS = dict(num_attention_heads=4, attention_head_dim=8)


def drawn(*shape: int) -> Tensor:
    """A seeded tensor."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


T = torch.tensor([500])
IMAGE, TEXT = drawn(1, 4, 8, 8), drawn(1, 5, 16)
VIDEO = drawn(1, 4, 2, 8, 8)
MASK = torch.ones(1, 5, dtype=torch.bool)
CALL = dict(hidden_states=IMAGE, encoder_hidden_states=TEXT, timestep=T)
STAGES_3D = dict(
    sample_size=8, block_out_channels=(32, 64), norm_num_groups=4, cross_attention_dim=16, attention_head_dim=8,
    down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
)  # fmt: skip

# class -> (config, arguments)
TRANSFORMERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "DiTTransformer2DModel": (
        dict(num_layers=3, sample_size=8, num_embeds_ada_norm=10, norm_num_groups=4, **HEADS),
        dict(hidden_states=IMAGE, timestep=T, class_labels=torch.tensor([1])),
    ),
    "PixArtTransformer2DModel": (
        dict(
            num_layers=3, sample_size=8, in_channels=4, cross_attention_dim=32, caption_channels=16, norm_num_groups=4,
            **HEADS,
        ),
        CALL | {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}, "encoder_attention_mask": MASK * 1.0},
    ),
    "SD3Transformer2DModel": (
        dict(
            num_layers=3, sample_size=8, in_channels=4, joint_attention_dim=16, caption_projection_dim=32,
            pooled_projection_dim=16, pos_embed_max_size=8, dual_attention_layers=(0,), **HEADS,
        ),
        CALL | {"pooled_projections": drawn(1, 16)},
    ),
    "FluxTransformer2DModel": (
        dict(
            num_layers=2, num_single_layers=2, in_channels=4, attention_head_dim=16, num_attention_heads=4,
            joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
        ),
        dict(
            hidden_states=drawn(1, 16, 4), encoder_hidden_states=TEXT, pooled_projections=drawn(1, 16),
            timestep=T / 1000, img_ids=drawn(16, 3), txt_ids=drawn(5, 3),
        ),
    ),
    "AuraFlowTransformer2DModel": (
        dict(
            sample_size=8, patch_size=2, in_channels=4, num_mmdit_layers=2, num_single_dit_layers=2,
            joint_attention_dim=16, caption_projection_dim=32, pos_embed_max_size=16, **HEADS,
        ),
        CALL | {"timestep": T / 1000},
    ),
    "SanaTransformer2DModel": (
        dict(
            in_channels=4, out_channels=4, num_layers=2, num_cross_attention_heads=4, cross_attention_head_dim=8,
            cross_attention_dim=32, caption_channels=16, sample_size=8, patch_size=1, **HEADS,
        ),
        CALL | {"encoder_attention_mask": MASK},
    ),
    # counts the text's tokens in its mask
    "Lumina2Transformer2DModel": (
        dict(
            num_layers=3, num_refiner_layers=1, sample_size=8, in_channels=4, hidden_size=48, num_attention_heads=4,
            num_kv_heads=2, multiple_of=16, cap_feat_dim=16, axes_dim_rope=(4, 4, 4), axes_lens=(8, 8, 8),
        ),
        CALL | {"encoder_attention_mask": MASK},
    ),
    "HunyuanDiT2DModel": (
        dict(
            num_layers=4, sample_size=8, patch_size=2, in_channels=4, hidden_size=32, cross_attention_dim=16,
            cross_attention_dim_t5=16, pooled_projection_dim=16, text_len=4, text_len_t5=4, **HEADS,
        ),
        dict(
            hidden_states=IMAGE, timestep=T * 1.0,
            encoder_hidden_states=drawn(1, 4, 16), text_embedding_mask=MASK[:, 1:],
            encoder_hidden_states_t5=drawn(1, 4, 16), text_embedding_mask_t5=MASK[:, 1:], image_meta_size=drawn(1, 6),
            style=torch.zeros(1, dtype=torch.long), image_rotary_emb=(drawn(16, 8), drawn(16, 8)),
        ),
    ),
    "CogVideoXTransformer3DModel": (
        dict(
            num_layers=2, in_channels=4, out_channels=4, time_embed_dim=8, text_embed_dim=16, sample_width=8,
            sample_height=8, sample_frames=9, temporal_compression_ratio=4, max_text_seq_length=5, **HEADS,
        ),
        CALL | {"hidden_states": drawn(1, 3, 4, 8, 8)},
    ),
    "LTXVideoTransformer3DModel": (
        dict(in_channels=4, out_channels=4, num_layers=2, cross_attention_dim=32, caption_channels=16, **HEADS),
        CALL | dict(
            hidden_states=drawn(1, 16, 4), encoder_attention_mask=MASK, num_frames=1, height=4, width=4
        ),
    ),
    "WanTransformer3DModel": (
        dict(
            num_layers=2, in_channels=4, out_channels=4, num_attention_heads=4, attention_head_dim=12, text_dim=16,
            freq_dim=16, ffn_dim=64,
        ),
        CALL | {"hidden_states": VIDEO},
    ),
    # switches autocast off on the device of its tensors
    "MochiTransformer3DModel": (
        dict(
            patch_size=2, num_layers=3, pooled_projection_dim=16, in_channels=4, text_embed_dim=16, time_embed_dim=8,
            max_sequence_length=5, **HEADS,
        ),
        CALL | {"hidden_states": VIDEO, "encoder_attention_mask": MASK},
    ),
}  # fmt: skip
UNETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "UNet3DConditionModel": (STAGES_3D, dict(sample=VIDEO, timestep=T, encoder_hidden_states=TEXT)),
    "I2VGenXLUNet": (
        STAGES_3D | {"num_attention_heads": 8},
        dict(
            sample=VIDEO, timestep=T, fps=torch.tensor([8]), image_latents=VIDEO, image_embeddings=drawn(1, 16),
            encoder_hidden_states=TEXT,
        ),
    ),
    # its layers are in lists of lists, and no integer of its config counts them
    "StableCascadeUNet": (
        dict(
            in_channels=4, out_channels=4, timestep_ratio_embedding_dim=8, conditioning_dim=16,
            block_out_channels=(32, 64), num_attention_heads=(2, 4), down_num_layers_per_block=(2, 3),
            up_num_layers_per_block=(3, 2), down_blocks_repeat_mappers=(1, 1), up_blocks_repeat_mappers=(1, 1),
            block_types_per_layer=(("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),) * 2,
            clip_text_in_channels=16, clip_text_pooled_in_channels=16, clip_image_in_channels=16, clip_seq=2,
            dropout=(0.1, 0.1), switch_level=(False,),
        ),
        dict(
            sample=IMAGE, timestep_ratio=T / 1000, clip_text_pooled=drawn(1, 1, 16), clip_text=TEXT,
            clip_img=drawn(1, 1, 16),
        ),
    ),
    "Kandinsky3UNet": (
        dict(
            in_channels=4, time_embedding_dim=8, groups=4, attention_head_dim=8, layers_per_block=2,
            block_out_channels=(32, 64), cross_attention_dim=32, encoder_hid_dim=16,
        ),
        dict(sample=IMAGE, timestep=T, encoder_hidden_states=TEXT, encoder_attention_mask=MASK * 1.0),
    ),
}  # fmt: skip
NETWORKS = TRANSFORMERS | UNETS


def network(name: str) -> Any:
    """The tiny network of this class with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(diffusers, name)(**NETWORKS[name][0]).eval()
