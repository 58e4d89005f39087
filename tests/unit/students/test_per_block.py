"""What a network has once for every block besides the blocks follows the blocks that stay."""

from __future__ import annotations

from condistill import Teacher
from condistill.students import make_plan
from tests.tiny.mmdits_hunyuan import CASES

HIDREAM = next(case for case in CASES if case.name == "hidream")


def test_a_list_of_two_stacks_keeps_the_items_of_their_blocks() -> None:
    """One projection for each double block, each single block, and one more."""
    network = HIDREAM.build().transformer
    plan = make_plan(network.config, type(network), "keep=double_stream_blocks:1+keep=single_stream_blocks:0")
    sources = [plan.modules[f"caption_projection.{k}"] for k in range(3)]
    assert sources == ["caption_projection.1", "caption_projection.2", "caption_projection.4"]
    plan = make_plan(network.config, type(network), "keep=single_stream_blocks:1")
    sources = [plan.modules[f"caption_projection.{k}"] for k in range(4)]
    assert sources == [f"caption_projection.{k}" for k in (0, 1, 3, 4)]


def test_a_list_of_the_config_with_an_entry_for_each_block_is_cut_where_the_network_runs_only_so() -> None:
    teacher = Teacher.from_pipeline(HIDREAM.build(), call=HIDREAM.call())
    teacher.network.register_to_config(llama_layers=[0, 1, 1, 0])
    student = teacher.student("keep=double_stream_blocks:1+keep=single_stream_blocks:1")
    assert student.network.config["llama_layers"] == [1, 0]
