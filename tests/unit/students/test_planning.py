"""Plans and students of U-Nets of many layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetSpatioTemporalConditionModel

from condistill.errors import UserError
from condistill.students import build, make_plan
from tests.tiny.control_more import small_control_xl
from tests.tiny.pipelines import sdxl, unet_config
from tests.unit.students.test_inherit import network, output

SPECS = ["b-base", "b-small", "b-tiny", "b-small+mid", "depth=0.5", "width=0.5", "b-base+width=0.5"]
TELLING = ["b-base", "b-tiny", "width=0.5"]  # on every layout; all of them on SD's


def stages(count: int, *, cross: int, **changes: Any) -> dict[str, Any]:
    """A layout with `count` stages, the outer `cross` of which have cross attention."""
    plain = count - cross
    return dict(
        block_out_channels=(16, 32, 32, 64, 64)[:count],
        down_block_types=("CrossAttnDownBlock2D",) * cross + ("DownBlock2D",) * plain,
        up_block_types=("UpBlock2D",) * plain + ("CrossAttnUpBlock2D",) * cross,
        **changes,
    )


LAYOUTS: dict[str, dict[str, Any]] = {
    "sd": {},
    "five stages": stages(5, cross=4, sample_size=16),
    "three stages, no attention": stages(3, cross=0),
    "three layers": stages(3, cross=2, layers_per_block=3),
    "layers by stage": stages(3, cross=3, layers_per_block=(2, 3, 2)),
    "heads by stage": stages(4, cross=3, attention_head_dim=(2, 4, 4, 8)),
    "deep transformers": stages(3, cross=3, transformer_layers_per_block=(1, 2, 4)),
    "simple cross attention": dict(
        block_out_channels=(16, 32, 32),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=4,
    ),
    "self attention": dict(
        block_out_channels=(16, 32, 32),
        down_block_types=("AttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "AttnUpBlock2D"),
        attention_head_dim=4,
    ),
    "linear projection": stages(3, cross=2, use_linear_projection=True, upcast_attention=True),
}


@pytest.mark.parametrize(
    ("layout", "spec"), [(layout, spec) for layout in LAYOUTS for spec in (SPECS if layout == "sd" else TELLING)]
)
def test_every_tensor_has_an_origin_and_every_tap_a_partner(layout: str, spec: str) -> None:
    teacher = network(**LAYOUTS[layout])
    plan = make_plan(teacher.config, type(teacher), spec)
    student = build(plan, teacher)
    assert set(plan.origins) == set(student.state_dict())
    assert all(origin.kind in ("inherited", "sliced") for origin in plan.origins.values())
    features: dict[str, dict[str, tuple[int, ...]]] = {"teacher": {}, "student": {}}
    for net, who in ((teacher, "teacher"), (student, "student")):
        for pair in plan.taps:
            hook = shape_into(features[who], pair.student)
            net.get_submodule(getattr(pair, who)).register_forward_hook(hook)
    assert output(teacher, plan.config).shape == output(student, plan.config).shape
    for pair in plan.taps:
        theirs, ours = features["teacher"][pair.student], features["student"][pair.student]
        assert (theirs[1], ours[1]) == (pair.teacher_channels, pair.student_channels)
        assert theirs[2:] == ours[2:]
    assert len({pair.student for pair in plan.taps}) == len(plan.taps) >= 2 * len(plan.config["down_block_types"])


def shape_into(found: dict[str, tuple[int, ...]], name: str) -> Any:
    """A hook that notes the shape of the first tensor of a module's output."""

    def hook(_: Any, __: Any, result: Any) -> None:
        while not isinstance(result, torch.Tensor):
            result = result[0]
        found[name] = tuple(result.shape)

    return hook


@pytest.mark.parametrize(("spec", "init"), [("depth=1.0", "inherit"), ("width=1.0", "slice")])
@pytest.mark.parametrize("layout", ["sd", "simple cross attention", "deep transformers"])
def test_the_identity_student_is_the_teacher(layout: str, init: str, spec: str) -> None:
    teacher = network(**LAYOUTS[layout])
    plan = make_plan(teacher.config, type(teacher), spec, init=init)
    student = build(plan, teacher)
    assert {origin.kind for origin in plan.origins.values()} == {"inherited"}
    assert torch.equal(output(student, plan.config), output(teacher, plan.config))


def test_block_removal_keeps_first_down_and_last_up() -> None:
    teacher = network()
    plan = make_plan(teacher.config, type(teacher), "b-tiny")
    assert plan.origins["down_blocks.1.resnets.0.conv1.weight"].source == "down_blocks.1.resnets.0.conv1.weight"
    assert plan.origins["up_blocks.0.resnets.1.conv1.weight"].source == "up_blocks.1.resnets.2.conv1.weight"
    assert plan.origins["up_blocks.2.attentions.1.norm.weight"].source == "up_blocks.3.attentions.2.norm.weight"
    assert [(pair.teacher, pair.student) for pair in plan.taps] == [
        ("down_blocks.0", "down_blocks.0"),
        ("down_blocks.1", "down_blocks.1"),
        ("down_blocks.2.attentions.1", "down_blocks.2"),
        ("up_blocks.1", "up_blocks.0"),
        ("up_blocks.2", "up_blocks.1"),
        ("up_blocks.3", "up_blocks.2"),
    ]
    build(plan, teacher)


def test_narrowed_students_are_compared_after_every_block() -> None:
    plan = make_plan(unet_config(), UNet2DConditionModel, "c-micro", init="random")
    assert len(plan.taps) == 9
    assert all(pair.student_channels < pair.teacher_channels for pair in plan.taps)


def test_a_narrowed_student_is_sliced_where_inheriting_was_asked_and_says_so() -> None:
    plan = make_plan(unet_config(), UNet2DConditionModel, "c-micro")
    assert plan.init == "slice" and any("slice" in note for note in plan.notes)


def test_random_students_depend_on_their_seed_alone() -> None:
    teacher = network()
    plan = make_plan(teacher.config, type(teacher), "b-base", init="random")
    assert {origin.kind for origin in plan.origins.values()} == {"fresh"}
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first, second, other = (build(plan, teacher, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(output(first, plan.config), output(second, plan.config))
    assert not torch.equal(output(first, plan.config), output(other, plan.config))


def test_half_precision_teachers_give_float32_students() -> None:
    teacher = network().half()
    plan = make_plan(teacher.config, type(teacher), "b-base")
    student = build(plan, teacher)
    assert {p.dtype for p in student.parameters()} == {torch.float32}
    assert torch.equal(student.get_parameter("conv_in.weight"), teacher.conv_in.weight.float())


@pytest.mark.parametrize("spec", ["b-base", "b-tiny", "width=0.5"])
def test_students_are_saved_and_loaded_by_diffusers(tmp_path: Path, spec: str) -> None:
    teacher = network()
    plan = make_plan(teacher.config, type(teacher), spec)
    student = build(plan, teacher)
    student.save_pretrained(tmp_path)  # type: ignore[operator]
    loaded = UNet2DConditionModel.from_pretrained(tmp_path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in student.state_dict().items())
    # loaded weights lie at other addresses, which on some processors changes the last bits
    torch.testing.assert_close(output(loaded, plan.config), output(student, plan.config))


@pytest.mark.parametrize("spec", ["koala-1b", "koala-700m", "vega"])
def test_sdxl_presets_fit_any_sdxl_layout(spec: str) -> None:
    config = {**sdxl().unet.config, "transformer_layers_per_block": (1, 2, 7)}
    plan = make_plan(config, UNet2DConditionModel, spec)
    teacher = UNet2DConditionModel(**{k: v for k, v in config.items() if not k.startswith("_")})
    assert set(build(plan, teacher).state_dict()) == set(plan.origins)


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        ({"layers_per_block": 1}, "b-base", "removed; try width=0.25, 0.5, 0.75"),
        ({"layers_per_block": 1}, "depth=0.5", "1}; try width=0.25, 0.5, 0.75"),
        ({"layers_per_block": 1, "norm_num_groups": 16}, "depth=0.5", "nothing of this network can be cut"),
        ({"layers_per_block": 1, "norm_num_groups": 16}, "width=0.5", "nothing of this network can be cut"),
        ({"mid_block_type": None}, "b-small", "no mid block to remove by config"),
        (stages(2, cross=1), "b-tiny", "2 stages"),
        ({}, "width=0.99", "cuts nothing"),
        ({}, "width=0.1", "multiples of 4 are wanted"),
        ({"norm_num_groups": 16}, "width=0.5", "cannot be narrowed; try depth=0.5"),
        ({}, "keep=resnets:0", "known: down_blocks.0.attentions"),
        ({}, "keep=down_blocks.0:0,1", "cuts nothing"),
        ({}, "keep=down_blocks.0:2", "there are 0 to 1"),
        ({}, "keep=up_blocks.3:0", "leaves no layer in down_blocks.0"),
        ({}, "keep=up_blocks.1:0,1", "keep the first layer, and going up also the last"),
        ({}, "keep=down_blocks.0:0+depth=0.5", "keep= goes with width= only"),
        ({}, "koala-1b", "this preset cuts an SDXL U-Net"),
        ({"norm_num_groups": 16}, "depth=0.5+width=0.5", "cannot be narrowed; try depth=0.5"),
        (
            {
                **stages(3, cross=3, transformer_layers_per_block=[1, 2, 1]),
                "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
            },
            "koala-1b",
            "the student would have 6 blocks in down_blocks.2",
        ),
        (  # blocks that have a group for each 32 channels, and none for fewer
            {
                **stages(3, cross=0, norm_num_groups=None, mid_block_type=None, resnet_time_scale_shift="scale_shift"),
                "block_out_channels": (32, 32, 32),
                "down_block_types": ("KDownBlock2D",) * 3,
                "up_block_types": ("KUpBlock2D",) * 3,
            },
            "width=0.5",
            "does not run (integer division or modulo by zero)",
        ),
    ],
)
def test_a_cut_that_cannot_be_made_is_one_clear_line(changes: dict[str, Any], spec: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        make_plan(unet_config(**changes), UNet2DConditionModel, spec)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_video_unets_are_cut_by_the_same_rules() -> None:
    config = dict(
        sample_size=8, in_channels=8, block_out_channels=(32, 64), num_attention_heads=(2, 4), cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=24, layers_per_block=2,
    )  # fmt: skip
    teacher = UNetSpatioTemporalConditionModel(**config)
    plan = make_plan(teacher.config, type(teacher), "b-base")
    assert set(build(plan, teacher).state_dict()) == set(plan.origins)
    assert [pair.teacher_channels for pair in plan.taps] == [32, 64, 64, 32]
    with pytest.raises(UserError, match="multiples of 32 are wanted"):
        make_plan(teacher.config, type(teacher), "width=0.5")


def test_blocks_that_wrap_those_of_a_unet_are_narrowed() -> None:
    """Where the channels of a skip connection cannot be told, they are cut as one (ControlNet-XS)."""
    network = small_control_xl().unet
    plan = make_plan(network.config, type(network), "width=0.5")
    assert {origin.kind for origin in plan.origins.values()} <= {"inherited", "sliced"}
    assert set(build(plan, network).state_dict()) == set(plan.origins)
    with pytest.raises(UserError, match="no mid block to remove by config"):
        make_plan(network.config, type(network), "vega")  # its config does not say how many layers a block has


def test_unknown_initialisations_are_named() -> None:
    with pytest.raises(UserError, match=r"unknown init 'inherited'; did you mean 'inherit'\?"):
        make_plan(unet_config(), UNet2DConditionModel, "b-base", init="inherited")
