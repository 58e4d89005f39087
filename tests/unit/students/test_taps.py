"""Passes on shapes alone, and the features that are compared, on networks of many classes."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from torch import nn

from condistill.errors import UserError
from condistill.students import StudentPlan, build, count_macs, inspect, make_plan
from condistill.students.meta import on_meta
from condistill.students.passes import one_pass, outputs_of
from condistill.students.taps import image_elements
from tests.unit.students.networks import NETWORKS, TRANSFORMERS, network

# whose blocks give out the text's tokens before the image's
SECOND = {"SD3Transformer2DModel", "FluxTransformer2DModel", "AuraFlowTransformer2DModel"}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pass_on_shapes_sees_what_a_real_one_does(name: str) -> None:
    real, inputs = network(name), NETWORKS[name][1]
    seen = one_pass(on_meta(type(real), real.config), inputs)
    assert seen is not None and seen.macs[""]["total"] > seen.macs[""]["conv_linear"] > 0
    with torch.no_grad():
        assert seen.outputs == outputs_of(real, inputs)


def test_a_pass_is_known_again_by_all_that_it_depends_on() -> None:
    real, inputs = network("DiTTransformer2DModel"), NETWORKS["DiTTransformer2DModel"][1]
    first = one_pass(on_meta(type(real), real.config), inputs)
    assert one_pass(on_meta(type(real), real.config), inputs) is first  # not made again
    doubled = {name: torch.cat([one, one]) for name, one in inputs.items()}
    twice, shorter = on_meta(type(real), real.config), on_meta(type(real), {**real.config, "num_layers": 1})
    assert first and one_pass(twice, doubled).macs[""]["total"] == 2 * first.macs[""]["total"]
    assert one_pass(shorter, inputs).macs[""]["total"] < first.macs[""]["total"]


def planned(name: str, spec: str) -> tuple[Any, StudentPlan]:
    """A teacher and a plan made with its recorded inputs."""
    teacher = network(name)
    return teacher, make_plan(teacher.config, type(teacher), spec, inputs=NETWORKS[name][1])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_identity_inherits_all_and_is_compared_after_its_blocks(name: str) -> None:
    teacher, plan = planned(name, "depth=1.0")
    student = build(plan, teacher)
    assert {origin.kind for origin in plan.origins.values()} == {"inherited"}
    assert plan.taps and all(tap.teacher == tap.student for tap in plan.taps) and not plan.notes
    with torch.no_grad():
        assert torch.equal(student(**NETWORKS[name][1])[0], teacher(**NETWORKS[name][1])[0])


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_taps_of_half_the_depth_are_the_images_tokens(name: str) -> None:
    teacher, plan = planned(name, "depth=0.5")
    wanted = _run(teacher, NETWORKS[name][1])
    got = _run(build(plan, teacher), NETWORKS[name][1])
    assert plan.taps
    for tap in plan.taps:
        (source, k), (path, same) = _split(tap.teacher), _split(tap.student)
        theirs, ours = wanted[source][k], got[path][same]
        assert theirs == ours is not None and k == same
        assert theirs is not None and (theirs[2], ours[2]) == (tap.teacher_channels, tap.student_channels)
        assert theirs[1] != 5, "the text's tokens are compared"
    assert any(tap.teacher.endswith(":1") for tap in plan.taps) == (name in SECOND)


def _run(net: nn.Module, inputs: dict[str, Any]) -> Any:
    with torch.no_grad():
        return outputs_of(net, inputs)


def _split(name: str) -> tuple[str, int]:
    path, _, element = name.partition(":")
    return path, int(element or 0)


def test_the_image_is_told_from_the_text_in_either_order() -> None:
    text = {"encoder_hidden_states": torch.zeros(1, 77, 16)}
    assert image_elements([(1, 1024, 64), (1, 77, 64)], (1, 4, 64, 64), text) == [0]
    assert image_elements([(1, 77, 64), (1, 1024, 64)], (1, 1024, 4), text) == [1]
    # a text as long as the image has tokens: both are compared
    text = {"encoder_hidden_states": torch.zeros(1, 16, 16)}
    assert image_elements([(1, 16, 64), (1, 16, 64)], (1, 4, 8, 8), text) == [0, 1]
    # skips beside the hidden states, a vector, nothing
    assert image_elements([(1, 32, 4, 4), None], (1, 4, 8, 8), text) == [0]
    assert image_elements([(1, 16, 64), (1, 64)], (1, 4, 8, 8), text) == [0]
    assert image_elements([], (1, 4, 8, 8), text) == []


def test_the_only_block_is_compared_also_where_it_gives_out_nothing_first() -> None:
    only = {"num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 8, "sample_size": 4, "patch_size": 1}
    sizes = {"in_channels": 4, "joint_attention_dim": 16, "caption_projection_dim": 16, "pooled_projection_dim": 16}
    cls = diffusers.SD3Transformer2DModel
    inputs = {
        "hidden_states": torch.zeros(1, 4, 4, 4),
        "encoder_hidden_states": torch.zeros(1, 6, 16),
        "pooled_projections": torch.zeros(1, 16),
        "timestep": torch.zeros(1),
    }
    plan = make_plan({**only, **sizes}, cls, "width=0.5", inputs=inputs)
    assert [tap.student for tap in plan.taps] == ["transformer_blocks.0:1"]


def test_macs_of_any_class_are_counted_with_recorded_inputs() -> None:
    name = "PixArtTransformer2DModel"
    teacher, plan = planned(name, "depth=0.5")
    found = inspect(plan)
    assert found.macs == inspect(plan, inputs=NETWORKS[name][1]).macs
    assert found.macs["teacher"] == count_macs(type(teacher), teacher.config, inputs=NETWORKS[name][1])
    without = make_plan(teacher.config, type(teacher), "depth=0.5")
    asked = inspect(without).macs["teacher"]  # with what the class itself asks for: 77 tokens, not 5
    assert asked and found.macs["teacher"] and asked["total"] > found.macs["teacher"]["total"]
    assert inspect(without, inputs=NETWORKS[name][1]).macs == found.macs
    # equal widths need no shape
    assert [(tap.teacher, tap.student) for tap in without.taps] == [(tap.teacher, tap.student) for tap in plan.taps]


class Unshaped(diffusers.DiTTransformer2DModel):
    """A network that reads a number from its activations, which shapes do not have."""

    def forward(self, hidden_states: Any, **kwargs: Any) -> Any:
        """The prediction of a DiT."""
        assert hidden_states.sum().item() == hidden_states.sum().item()
        return super().forward(hidden_states, **kwargs)


def test_a_network_that_shapes_cannot_run_is_measured_by_running_it() -> None:
    config, inputs = NETWORKS["DiTTransformer2DModel"]
    teacher = Unshaped(**config).eval()
    plan = make_plan(teacher.config, Unshaped, "depth=0.5", inputs=inputs, network=teacher)
    assert plan.passes is None and inspect(plan).macs["teacher"] is None
    assert plan.taps and all(tap.teacher_channels == tap.student_channels == 32 for tap in plan.taps)
    # a narrower one is run beside it, with random weights
    narrow = make_plan(teacher.config, Unshaped, "width=0.5", inputs=inputs, network=teacher)
    assert {(tap.teacher_channels, tap.student_channels) for tap in narrow.taps} == {(32, 16)}
    with torch.no_grad():
        assert build(narrow, teacher)(**inputs).sample.shape == teacher(**inputs).sample.shape
    # without a stack to cut its only block is compared
    single = Unshaped(**{**config, "num_layers": 1}).eval()
    same = make_plan(single.config, Unshaped, "depth=1.0", inputs=inputs, network=single)
    assert [(tap.teacher, tap.student) for tap in same.taps] == [("transformer_blocks.0", "transformer_blocks.0")]


def test_a_student_that_does_not_run_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="makes a Kandinsky3UNet that does not run") as caught:
        planned("Kandinsky3UNet", "depth=0.5")
    assert "\n" not in str(caught.value)
