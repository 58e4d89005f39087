"""Which blocks stay: `blocks=` in a spec, and BK-SDM's rule carried over to stacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel, HunyuanDiT2DModel, SD3Transformer2DModel
from hypothesis import given
from hypothesis import strategies as st

from condistill.errors import UserError
from condistill.students import build, check_spec, make_plan, spec_text
from condistill.students.depth import from_both_ends
from tests.unit.students.test_depth import NETWORKS, network


def test_the_words_of_a_spec() -> None:
    cut = check_spec({"depth": 0.5, "blocks": "ends"})
    assert cut == check_spec("blocks=ends+depth=0.5") and cut.chosen_by == "ends" and not cut.needs_unet
    assert check_spec("depth=0.5+blocks=even") == check_spec("depth=0.5")
    assert check_spec("depth=0.5+blocks=scored").chosen_by == "scored"
    assert spec_text({"depth": 0.5, "blocks": "ends"}) == "depth=0.5+blocks=ends"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("depth=0.5+blocks=scord", "unknown way to choose blocks 'scord'; did you mean 'scored'?"),
        ({"depth": 0.5, "bloks": "even"}, "unknown student rule 'bloks'; did you mean 'blocks'?"),
        ("block=even", "unknown student rule 'block'; did you mean 'blocks'?"),
        ("depth=0.5+blocks=leading", "unknown way to choose blocks 'leading'; known: ends, even, scored"),
        ("blocks=ends", "got blocks=ends without a depth below 1"),
        ("depth=1.0+blocks=even", "got blocks=even without a depth below 1"),
        ("b-base+blocks=ends", "got blocks=ends without a depth below 1"),
        ("keep=blocks:0,1+blocks=scored", "got blocks=scored without a depth below 1"),
    ],
)
def test_a_choice_nobody_understands_or_without_effect_is_named(spec: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_spec(spec)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@given(n=st.integers(1, 60), m=st.integers(1, 60))
def test_ends_leave_out_the_middle(n: int, m: int) -> None:
    n, m = max(n, m), min(n, m)
    stay = list(from_both_ends("", range(n), range(m), m))
    early = -(-m // 2)
    assert stay == [*range(early), *range(n - (m - early), n)]


# class -> the teacher's blocks that half the depth keeps: of those of each kind the first ones and the last ones
ENDS: dict[Any, list[int]] = {
    DiTTransformer2DModel: [0, 1, 5],
    SD3Transformer2DModel: [0, 1, 5],  # the last block is of its own kind
    HunyuanDiT2DModel: [0, 1, 4, 7],  # 5 to 7 take skip connections, and of those the student has one
}


@pytest.mark.parametrize("cls", ENDS)
def test_half_the_depth_from_both_ends(cls: Any) -> None:
    teacher = network(cls)
    plan = make_plan(teacher.config, cls, "depth=0.5+blocks=ends")
    (path,) = NETWORKS[cls][1]
    assert [int(plan.modules[f"{path}.{k}"].rpartition(".")[2]) for k in range(len(ENDS[cls]))] == ENDS[cls]
    before = teacher.state_dict()
    for name, tensor in build(plan, teacher).state_dict().items():
        assert torch.equal(tensor, before[plan.origins[name].source or ""]), name


def test_numbers_of_special_blocks_follow_the_blocks_that_stay() -> None:
    plan = make_plan(NETWORKS[SD3Transformer2DModel][0], SD3Transformer2DModel, "depth=0.5+blocks=ends")
    assert list(plan.config["dual_attention_layers"]) == [0, 1]


def test_scored_blocks_need_the_teacher_and_its_d() -> None:
    with pytest.raises(UserError, match=r"blocks=scored measures the teacher on D: teacher\.student\("):
        make_plan(NETWORKS[DiTTransformer2DModel][0], DiTTransformer2DModel, "depth=0.5+blocks=scored")


def test_depth_and_width_go_together() -> None:
    teacher = network(DiTTransformer2DModel)
    plan = make_plan(teacher.config, DiTTransformer2DModel, "depth=0.5+blocks=ends+width=0.5")
    assert (plan.config["num_layers"], plan.config["num_attention_heads"], plan.init) == (3, 1, "slice")
    assert [plan.modules[f"transformer_blocks.{k}"][-1] for k in range(3)] == ["0", "1", "5"]
    name = "transformer_blocks.{}.attn1.to_q.weight"
    origin = plan.origins[name.format(2)]
    assert (origin.kind, origin.source) == ("sliced", name.format(5))
    x, t, labels = torch.randn(2, 4, 8, 8), torch.tensor([3, 900]), torch.tensor([1, 2])
    with torch.no_grad():
        assert build(plan, teacher)(x, t, labels).sample.shape == teacher(x, t, labels).sample.shape
    with pytest.raises(UserError, match=r"possible: width=0\.5"):
        make_plan(teacher.config, DiTTransformer2DModel, "depth=0.5+width=0.8")
