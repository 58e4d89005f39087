"""`keep=` on U-Nets: layers of single stages, and stacks with one number for each stage."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel

from condistill.errors import UserError
from condistill.students import build, inspect, make_plan
from condistill.students.depth import keep_best
from condistill.students.presets import check_spec
from condistill.students.stacks import find_stacks
from tests.tiny.cascades import cascade_prior
from tests.tiny.pipelines import unet_config


def test_a_stage_loses_the_same_layers_down_and_up() -> None:
    plan = make_plan(unet_config(), UNet2DConditionModel, "keep=down_blocks.1:0")
    assert plan.config["layers_per_block"] == [2, 1, 2, 2]
    sources = {name: origin.source for name, origin in plan.origins.items()}
    assert sources["down_blocks.1.resnets.0.conv1.weight"] == "down_blocks.1.resnets.0.conv1.weight"
    assert sources["up_blocks.2.resnets.1.conv1.weight"] == "up_blocks.2.resnets.2.conv1.weight"
    assert sources["up_blocks.1.resnets.1.conv1.weight"] == "up_blocks.1.resnets.1.conv1.weight"
    rows = {row.path: row.status for row in inspect(plan).rows}
    assert rows["down_blocks.1.resnets.1"] == rows["up_blocks.2.resnets.1"] == "removed"
    assert rows["down_blocks.0"] == "kept"


def test_the_layers_going_up_can_be_chosen() -> None:
    plan = make_plan(unet_config(layers_per_block=3), UNet2DConditionModel, "keep=up_blocks.2:0,2,3+width=0.5")
    modules = plan.modules
    assert modules["up_blocks.2.resnets.1"] == "up_blocks.2.resnets.2"
    assert modules["up_blocks.2.attentions.2"] == "up_blocks.2.attentions.3"
    assert modules["down_blocks.1.resnets.1"] == "down_blocks.1.resnets.1"
    assert "down_blocks.1.resnets.2" not in modules
    assert plan.config["block_out_channels"][0] == unet_config()["block_out_channels"][0] // 2


def test_transformer_blocks_of_a_stage_go_together() -> None:
    config = unet_config(transformer_layers_per_block=[1, 3, 1, 1])
    plan = make_plan(config, UNet2DConditionModel, "keep=down_blocks.1.attentions.0.transformer_blocks:0,2")
    assert plan.config["transformer_layers_per_block"] == [1, 2, 1, 1]
    for path in ("down_blocks.1.attentions.1", "up_blocks.2.attentions.0"):
        source = plan.modules[f"{path}.transformer_blocks.1"]
        assert source == f"{path}.transformer_blocks.2", "BK-SDM's rule is for layers; blocks not named lead"


def test_two_lists_that_share_a_number_must_agree() -> None:
    with pytest.raises(UserError, match="as many layers must go from both"):
        make_plan(unet_config(layers_per_block=3), UNet2DConditionModel, "keep=down_blocks.0:0+keep=up_blocks.3:0,1,3")


def test_a_class_with_one_number_for_all_stages_is_cut_in_all() -> None:
    config = dict(
        sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, attention_head_dim=4, cross_attention_dim=8,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    teacher = UNet3DConditionModel(**config)
    plan = make_plan(teacher.config, type(teacher), "keep=down_blocks.0:0")
    assert plan.config["layers_per_block"] == 1
    assert set(build(plan, teacher).state_dict()) == set(plan.origins)


def test_numbers_for_each_stage_are_stacks_where_no_field_governs_one() -> None:
    teacher = cascade_prior().prior
    stacks = find_stacks(type(teacher), teacher.config)
    assert stacks and all(stack.entry is not None for stack in stacks)
    plan = make_plan(teacher.config, type(teacher), "depth=0.5")
    student = build(plan, teacher)
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in teacher.parameters())
    assert all(torch.equal(student.state_dict()[n], teacher.state_dict()[o.source]) for n, o in plan.origins.items())
    with pytest.raises(UserError, match="cannot score one of 6 items in 2 layers"):
        keep_best(type(teacher), teacher.config, teacher, check_spec("depth=0.5+blocks=scored"), lambda _: [])
