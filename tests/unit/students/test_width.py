"""Narrow transformers: fewer heads, and whatever has to go along, found by trying."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest

from condistill.errors import UserError
from condistill.students.meta import on_meta
from condistill.students.passes import one_pass
from condistill.students.width import inner_width, narrow_transformer
from tests.unit.students.networks import NETWORKS, TRANSFORMERS

# besides the heads: what has to be narrowed with them
ALONG: dict[str, dict[str, int]] = {
    "PixArtTransformer2DModel": {"cross_attention_dim": 16},
    "SD3Transformer2DModel": {"caption_projection_dim": 16},
    "AuraFlowTransformer2DModel": {"caption_projection_dim": 16},
    "SanaTransformer2DModel": {"num_cross_attention_heads": 2, "cross_attention_dim": 16},
    "Lumina2Transformer2DModel": {"hidden_size": 24, "num_kv_heads": 1},
    "HunyuanDiT2DModel": {"hidden_size": 16},
    "LTXVideoTransformer3DModel": {"cross_attention_dim": 16},
    "WanTransformer3DModel": {"ffn_dim": 32},
}


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_half_the_heads_answer_in_the_same_shape(name: str, given: bool) -> None:
    cls, (config, inputs) = getattr(diffusers, name), NETWORKS[name]
    found, notes = narrow_transformer(cls, config, 0.5, inputs=inputs if given else None)
    teacher, student = on_meta(cls, config), on_meta(cls, found)
    changed = {key: value for key, value in found.items() if teacher.config[key] != value}  # type: ignore[index]
    assert changed == {"num_attention_heads": 2, **ALONG.get(name, {})} and notes == ()
    assert inner_width(student) * 2 == inner_width(teacher)
    before, after = one_pass(teacher, inputs), one_pass(student, inputs)
    assert before is not None and after is not None and before.outputs[""] == after.outputs[""]


def test_the_width_of_the_text_stays_though_it_equals_the_inner_width() -> None:
    config: dict[str, Any] = NETWORKS["Lumina2Transformer2DModel"][0] | {"cap_feat_dim": 48}
    found, _ = narrow_transformer(diffusers.Lumina2Transformer2DModel, config, 0.5)
    assert found["cap_feat_dim"] == 48 and found["hidden_size"] == 24


def test_a_share_between_two_numbers_of_heads_is_rounded_and_said() -> None:
    config = NETWORKS["DiTTransformer2DModel"][0] | {"num_attention_heads": 12}
    found, notes = narrow_transformer(diffusers.DiTTransformer2DModel, config, 0.7)
    assert found["num_attention_heads"] == 8 and notes == ("width 12 heads x 0.7 = 8.4 rounded to 8",)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("DiTTransformer2DModel", 0.6, "possible: width=0.25, 0.5, 0.75"),
        ("Lumina2Transformer2DModel", 0.75, "possible: width=0.5"),  # 2 heads of keys do not go with 3 of queries
        ("CogVideoXTransformer3DModel", 0.75, "try depth=0.5 or width=0.5"),  # its positions want multiples of 16
        ("StableCascadeUNet", 0.5, "no number of heads in its config"),
    ],
)
def test_an_impossible_width_names_those_that_are_possible(name: str, width: float, message: str) -> None:
    with pytest.raises(UserError) as caught:
        narrow_transformer(getattr(diffusers, name), NETWORKS[name][0], width, inputs=NETWORKS[name][1])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_width_that_cannot_be_had_beside_a_depth_names_the_depth() -> None:
    cls, (config, inputs) = diffusers.CogVideoXTransformer3DModel, NETWORKS["CogVideoXTransformer3DModel"]
    with pytest.raises(UserError, match=r"try depth=0\.5 or width=0\.5"):
        narrow_transformer(cls, {**config, "num_layers": 1}, 0.75, inputs=inputs, whole=on_meta(cls, config))
