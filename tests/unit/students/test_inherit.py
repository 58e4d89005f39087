"""Slicing: channels stay aligned with norm groups, heads, halves and skip connections."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from condistill.students import Part, build, make_plan
from condistill.students.inherit import evenly
from tests.tiny.pipelines import unet_config


def network(**changes: Any) -> UNet2DConditionModel:
    """A tiny U-Net with seeded weights, all of them random (a zero bias would hide a mistake)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = UNet2DConditionModel(**unet_config(**changes)).eval()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def output(net: nn.Module, config: Any) -> Tensor:
    """The network's prediction for two fixed items."""
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(2, config["in_channels"], 8, 8, generator=draws)
    c = torch.randn(2, 5, config["cross_attention_dim"], generator=draws)
    with torch.no_grad():
        return net(x, torch.tensor([3, 900]), c).sample


@given(groups=st.integers(1, 8), before=st.integers(1, 12), after=st.integers(1, 12))
def test_even_spreading_respects_every_equal_subdivision(groups: int, before: int, after: int) -> None:
    before, after = max(before, after), min(before, after)
    index = Part(groups * before, groups * after).index()
    assert index == sorted(set(index)) and len(index) == groups * after
    assert [k // before for k in index] == [k // after for k in range(groups * after)]


@given(heads=st.integers(1, 6), kept=st.integers(1, 6), size=st.integers(1, 9), narrower=st.integers(1, 9))
def test_heads_stay_whole(heads: int, kept: int, size: int, narrower: int) -> None:
    heads, kept = max(heads, kept), min(heads, kept)
    size, narrower = max(size, narrower), min(size, narrower)
    index = Part(heads * size, kept * narrower, heads, kept).index()
    assert index == sorted(set(index))
    assert [k // size for k in index] == [h * heads // kept for h in range(kept) for _ in range(narrower)]


@given(n=st.integers(1, 60), m=st.integers(1, 60))
def test_evenly_keeps_order_and_ends(n: int, m: int) -> None:
    n, m = max(n, m), min(n, m)
    blocks = evenly(n, m)
    assert blocks == sorted(set(blocks)) and len(blocks) == m and blocks[0] == 0
    assert m == 1 or blocks[-1] == n - 1


def widened(student: nn.Module, teacher: nn.Module) -> None:
    """Makes the teacher, twice as wide, compute what the student does: every channel twice, the second one unread."""
    ours = student.state_dict()
    with torch.no_grad():
        for name, tensor in teacher.state_dict().items():
            value = ours[name]
            for dim, (n, m) in enumerate(zip(tensor.shape, value.shape, strict=True)):
                if n == m:
                    continue
                inner = (".to_q." in name or ".to_k." in name or ".to_v." in name) and dim == 0
                inner = inner or (".to_out." in name and dim == 1)
                size = 4 if inner else 1  # whole heads of 4 channels are doubled, not the channels within
                value = value.unflatten(dim, (-1, size)).repeat_interleave(2, dim).flatten(dim, dim + 1)
                if dim == 1:
                    unread = (torch.arange(n) // size) % 2 == 1
                    value[:, unread] = 0
            tensor.copy_(value)


def test_a_teacher_with_every_channel_twice_loses_nothing_by_slicing() -> None:
    wide = network(block_out_channels=(32, 32, 64, 64), attention_head_dim=(8, 8, 16, 16))
    narrow = network(block_out_channels=(16, 16, 32, 32), attention_head_dim=(4, 4, 8, 8))
    widened(narrow, wide)
    plan = make_plan(wide.config, type(wide), "width=0.5", init="slice")
    assert plan.config["attention_head_dim"] == [4, 4, 8, 8]
    student = build(plan, wide)
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, narrow.state_dict()[name]), name
    # float32: the sums have other orders, and group norms average twice as many numbers
    torch.testing.assert_close(output(student, plan.config), output(wide, plan.config), rtol=1e-4, atol=1e-4)


def test_skip_connections_are_sliced_apart_where_ratios_differ() -> None:
    # 16 -> 12 is 0.75, 40 -> 28 is 0.7: the concatenation of both is not one even run
    teacher = network(
        block_out_channels=(16, 40), down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2
    )
    label = torch.arange(56.0)  # the last layer of the first up block: 40 channels of its own, then 16 of the skip
    with torch.no_grad():
        teacher.up_blocks[0].resnets[2].norm1.weight.copy_(label)  # type: ignore[union-attr, operator, index]
    plan = make_plan(teacher.config, type(teacher), "width=0.72", init="slice")
    assert plan.config["block_out_channels"] == [12, 28]
    found = build(plan, teacher).get_parameter("up_blocks.0.resnets.2.norm1.weight").tolist()
    assert found == [k * 40 // 28 for k in range(28)] + [40 + k * 16 // 12 for k in range(12)]


def test_slicing_starts_nearer_to_the_teacher_than_random_weights() -> None:
    teacher = network()
    target = output(teacher, teacher.config)
    errors = {}
    for init in ("slice", "random"):
        plan = make_plan(teacher.config, type(teacher), "b-base", init=init)
        errors[init] = float((output(build(plan, teacher, seed=3), plan.config) - target).square().mean())
    assert errors["slice"] < errors["random"]


def test_a_teacher_of_another_plan_is_refused_by_name() -> None:
    teacher, other = network(), network(block_out_channels=(16, 16, 32, 64))
    plan = make_plan(teacher.config, type(teacher), "b-base")
    with pytest.raises(ValueError, match=r"this plan was made for another network"):
        build(plan, other)
