"""Stacks found by measuring, and students with fewer blocks of networks that are no U-Nets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DiTTransformer2DModel,
    FluxTransformer2DModel,
    HunyuanDiT2DModel,
    Lumina2Transformer2DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    WanAnimateTransformer3DModel,
    WanTransformer3DModel,
    WanVACETransformer3DModel,
)

from condistill.errors import UserError
from condistill.students import build, find_stacks, inspect, make_plan
from tests.tiny.pipelines import dit, unet_config

HEADS = dict(num_attention_heads=2, attention_head_dim=8)
# class -> (config, module list -> the teacher's blocks that half the depth keeps)
NETWORKS: dict[type, tuple[dict[str, Any], dict[str, list[int]]]] = {
    DiTTransformer2DModel: (
        dict(num_layers=6, sample_size=8, num_embeds_ada_norm=10, **HEADS),
        {"transformer_blocks": [0, 3, 5]},
    ),
    PixArtTransformer2DModel: (
        dict(num_layers=4, sample_size=8, in_channels=4, cross_attention_dim=16, caption_channels=16, **HEADS),
        {"transformer_blocks": [0, 3]},
    ),
    # the last block has no text stream to give on; `dual_attention_layers` lists block numbers
    SD3Transformer2DModel: (
        dict(
            num_layers=6, sample_size=8, in_channels=4, joint_attention_dim=16, caption_projection_dim=16,
            pooled_projection_dim=16, pos_embed_max_size=8, dual_attention_layers=(0, 1, 2), **HEADS,
        ),
        {"transformer_blocks": [0, 3, 5]},
    ),
    FluxTransformer2DModel: (
        dict(
            num_layers=4, num_single_layers=6, in_channels=4, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
        ),
        {"transformer_blocks": [0, 3], "single_transformer_blocks": [0, 3, 5]},
    ),
    # the second half has skip connections from the first
    HunyuanDiT2DModel: (
        dict(
            num_layers=8, sample_size=8, patch_size=2, in_channels=4, hidden_size=16, cross_attention_dim=16,
            cross_attention_dim_t5=16, pooled_projection_dim=16, text_len=4, text_len_t5=4, **HEADS,
        ),
        {"blocks": [0, 2, 4, 5]},
    ),
    Lumina2Transformer2DModel: (
        dict(
            num_layers=4, num_refiner_layers=2, sample_size=8, in_channels=4, hidden_size=24, num_attention_heads=2,
            num_kv_heads=1, multiple_of=16, cap_feat_dim=16, axes_dim_rope=(4, 4, 4), axes_lens=(8, 8, 8),
        ),
        {"layers": [0, 3], "noise_refiner": [0], "context_refiner": [0]},
    ),
    WanTransformer3DModel: (
        dict(
            num_layers=4, in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, text_dim=16,
            freq_dim=16, ffn_dim=32,
        ),
        {"blocks": [0, 3]},
    ),
}  # fmt: skip


def network(cls: Any) -> Any:
    """A tiny network of the class with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(**NETWORKS[cls][0]).eval()


@pytest.mark.parametrize("cls", NETWORKS)
def test_stacks_are_found_without_knowing_the_class(cls: Any) -> None:
    found = {path for stack in find_stacks(cls, NETWORKS[cls][0]) for path in stack.lists}
    assert found == set(NETWORKS[cls][1])


@pytest.mark.parametrize("cls", NETWORKS)
def test_half_the_depth_keeps_blocks_of_the_same_kind(cls: Any) -> None:
    teacher = network(cls)
    plan = make_plan(teacher.config, cls, "depth=0.5")
    student = build(plan, teacher)
    before = teacher.state_dict()
    for path, blocks in NETWORKS[cls][1].items():
        assert [int(plan.modules[f"{path}.{k}"].rpartition(".")[2]) for k in range(len(blocks))] == blocks
    for name, tensor in student.state_dict().items():
        source = plan.origins[name].source
        assert source is not None and torch.equal(tensor, before[source]), name
    assert plan.taps and all(pair.teacher_channels == pair.student_channels for pair in plan.taps)
    assert inspect(plan).parameters["student"] < inspect(plan).parameters["teacher"]


@pytest.mark.parametrize("cls", NETWORKS)
def test_full_depth_is_the_teacher(cls: Any) -> None:
    teacher = network(cls)
    plan = make_plan(teacher.config, cls, "depth=1.0")
    student = build(plan, teacher).state_dict()
    assert all(torch.equal(tensor, student[name]) for name, tensor in teacher.state_dict().items())


def test_the_numbers_of_special_blocks_are_renumbered() -> None:
    plan = make_plan(NETWORKS[SD3Transformer2DModel][0], SD3Transformer2DModel, "keep=transformer_blocks:1,2,4,5")
    assert list(plan.config["dual_attention_layers"]) == [0, 1]


def test_blocks_that_the_pipeline_gives_something_for_keep_their_number() -> None:
    config = dict(num_attention_heads=1, attention_head_dim=12, num_layers=3, vace_layers=[0, 2], ffn_dim=16)
    config |= dict(in_channels=4, out_channels=4, vace_in_channels=6, text_dim=8, freq_dim=8)
    video = torch.zeros(1, 4, 2, 4, 4)
    inputs = dict(hidden_states=video, timestep=torch.zeros(1), encoder_hidden_states=torch.zeros(1, 3, 8))
    inputs |= dict(control_hidden_states=torch.zeros(1, 6, 2, 4, 4), control_hidden_states_scale=torch.ones(2))
    found = find_stacks(WanVACETransformer3DModel, config)
    assert [(stack.field, stack.lists) for stack in found] == [("num_layers", ("blocks",))]
    plan = make_plan(config, WanVACETransformer3DModel, "depth=0.5", inputs=inputs)
    assert plan.config["num_layers"] == 2 and list(plan.config["vace_layers"]) == [0, 1]
    # without inputs they go with their blocks
    assert list(make_plan(config, WanVACETransformer3DModel, "keep=blocks:0,1").config["vace_layers"]) == [0]


def test_a_kept_list_is_kept_as_it_stands() -> None:
    teacher = dit().transformer
    plan = make_plan(teacher.config, type(teacher), "keep=transformer_blocks:0,2")
    student = build(plan, teacher)
    x, t, labels = torch.randn(2, 4, 8, 8), torch.tensor([3, 900]), torch.tensor([1, 2])
    blocks = teacher.transformer_blocks
    teacher.transformer_blocks = torch.nn.ModuleList([blocks[0], blocks[2]])
    with torch.no_grad():
        expected = teacher(x, t, labels).sample
        assert torch.equal(student(x, t, labels).sample, expected)
    # block 1 is skipped by the student, so its block 0 is compared with what the teacher has after it
    assert [(pair.teacher, pair.student) for pair in plan.taps] == [
        ("transformer_blocks.1", "transformer_blocks.0"),
        ("transformer_blocks.3", "transformer_blocks.1"),
    ]


@pytest.mark.parametrize(
    ("cls", "spec", "message"),
    [
        (DiTTransformer2DModel, "keep=transformer_block:0,2", "did you mean 'transformer_blocks'?"),
        (DiTTransformer2DModel, "keep=transformer_blocks:0,6", "there are 0 to 5"),
        (DiTTransformer2DModel, "keep=transformer_blocks:0,1,2,3,4,5", "cuts nothing"),
        (DiTTransformer2DModel, "depth=0.99", "cuts nothing"),
        (DiTTransformer2DModel, "b-base", "this preset is for the U-Nets of Stable Diffusion"),
        (SD3Transformer2DModel, "keep=transformer_blocks:0,1,2", "keep other blocks"),
    ],
)
def test_a_cut_that_cannot_be_made_is_one_clear_line(cls: Any, spec: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        make_plan(NETWORKS[cls][0], cls, spec)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_without_lists_of_blocks_says_what_else_can_be_cut() -> None:
    config = {**NETWORKS[SD3Transformer2DModel][0], "num_layers": 1}
    for spec in ("keep=transformer_blocks:0", "depth=0.5"):
        with pytest.raises(UserError, match=r"SD3Transformer2DModel: no list of two or more blocks; try width=0.5"):
            make_plan(config, SD3Transformer2DModel, spec)


def test_a_list_that_is_left_empty_is_not_compared() -> None:
    sizes = {"4": 4, "8": 4, "16": 4}
    config: dict[str, Any] = dict(
        num_layers=2, inject_face_latents_blocks=2, in_channels=36, latent_channels=16, num_attention_heads=2,
        attention_head_dim=12, text_dim=16, freq_dim=16, ffn_dim=32, image_dim=4, motion_encoder_channel_sizes=sizes,
        motion_encoder_size=16, motion_style_dim=8, motion_dim=4, motion_encoder_dim=8, face_encoder_hidden_dim=8,
        face_encoder_num_heads=2,
    )  # fmt: skip
    plan = make_plan(config, WanAnimateTransformer3DModel, "depth=0.5")
    assert plan.config["num_layers"] == 1 and [tap.student for tap in plan.taps] == ["blocks.0"]


def test_stacks_of_a_unet_are_found_too() -> None:
    found = find_stacks(UNet2DConditionModel, unet_config())
    assert {path for stack in found for path in stack.lists} >= {"down_blocks.0.resnets", "up_blocks.3.resnets"}
