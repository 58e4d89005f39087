"""Which blocks the teacher misses least, against networks from which a block was taken out by hand."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from condistill import Teacher, UserError
from condistill.generate import generate
from condistill.students import build, find_stacks, make_plan
from condistill.students.scoring import _batches, resolved, score_blocks
from tests.tiny.mmdits import flux, sd3
from tests.tiny.pipelines import dit, sd

STEPS = {"num_inference_steps": 2}
SIZE = {"height": 16, "width": 16, **STEPS}
TEACHERS: dict[str, tuple[Any, dict[str, Any], list[Any]]] = {
    "dit": (dit, STEPS, [1, 2, 3]),
    "flux": (partial(flux, "FluxPipeline"), SIZE, ["a fox", "two dogs"]),
    "sd3": (partial(sd3, "StableDiffusion3Pipeline"), SIZE, ["a fox", "two dogs"]),
}


def with_cache(name: str, folder: Path) -> tuple[Teacher, Any]:
    """A tiny teacher and four items of its D."""
    make, call, keys = TEACHERS[name]
    teacher = Teacher.from_pipeline(make())
    return teacher, generate(teacher, keys, out=folder / name, num_items=4, call=call, progress=False)


def without(network: Any, path: str, k: int) -> list[nn.Module]:
    """The network with one block taken out; returns its blocks as they were."""
    blocks = list(network.get_submodule(path).children())
    setattr(network, path, nn.ModuleList([block for i, block in enumerate(blocks) if i != k]))
    return blocks


@pytest.mark.parametrize("name", TEACHERS)
def test_skipping_a_block_is_leaving_it_out(name: str, tmp_path: Path) -> None:
    teacher, cache = with_cache(name, tmp_path)
    asked = teacher.with_call(cache.manifest.call)
    network = teacher.network
    for stack in find_stacks(type(network), network.config):
        (path,) = stack.lists
        found = score_blocks(teacher, cache, stack, num_samples=3, seed=5)
        assert len(found) == stack.length and min(found) > 0
        (noised,) = _batches(asked, cache, 3, 5)
        with torch.no_grad():
            whole = asked.predict(noised.x_t, noised.t, noised.condition).double()
            for k, score in list(enumerate(found))[name == "dit" :]:  # DiT's output layer reads the first block
                blocks = without(network, path, k)
                rest = asked.predict(noised.x_t, noised.t, noised.condition).double()
                setattr(network, path, nn.ModuleList(blocks))
                assert score == pytest.approx(float((whole - rest).square().mean()), rel=1e-9), (path, k)
        assert not any(module._forward_hooks for module in network.modules())


def test_a_block_that_does_nothing_scores_nothing_and_is_the_one_that_goes(tmp_path: Path) -> None:
    pipeline = dit()
    with torch.no_grad():  # the gates of this block's residuals come from this layer
        for parameter in pipeline.transformer.transformer_blocks[2].norm1.linear.parameters():
            parameter.zero_()
    teacher = Teacher.from_pipeline(pipeline)
    cache = generate(teacher, [1, 2, 3], out=tmp_path / "d", call=STEPS, progress=False)
    (stack,) = find_stacks(type(teacher.network), teacher.network.config)
    scores = score_blocks(teacher, cache, stack, num_samples=12)
    assert scores[2] == 0.0 and min(scores[:2] + scores[3:]) > 1e-6
    assert score_blocks(teacher, cache, stack, num_samples=12) == scores
    assert score_blocks(teacher, cache, stack, num_samples=12, seed=1) != scores

    assert resolved("depth=0.75+blocks=scored", teacher, cache) == "keep=transformer_blocks:0,1,3"
    spec = resolved({"depth": 0.75, "blocks": "scored"}, teacher, cache)
    plan = make_plan(teacher.network.config, type(teacher.network), spec)
    assert plan.spec == "keep=transformer_blocks:0,1,3"
    student = teacher.with_network(build(plan, teacher.network), plan=plan)
    (noised,) = _batches(teacher, cache, 2, 0)
    with torch.no_grad():
        both = [one.predict(noised.x_t, noised.t, noised.condition) for one in (teacher, student)]
    assert torch.equal(*both)


def test_the_other_words_of_a_spec_stay(tmp_path: Path) -> None:
    teacher, cache = with_cache("flux", tmp_path)
    spec = resolved("depth=0.5+keep=single_transformer_blocks:1+blocks=scored", teacher, cache, num_samples=2)
    assert isinstance(spec, str)
    measured, given = spec.split("+")
    assert given == "keep=single_transformer_blocks:1" and measured[:-1] == "keep=transformer_blocks:"
    assert resolved("depth=0.5+blocks=ends", teacher, None) == "depth=0.5+blocks=ends"
    assert resolved({"depth": 0.5}, teacher, None) == {"depth": 0.5}


def test_a_last_block_unlike_the_others_stays(tmp_path: Path) -> None:
    teacher, cache = with_cache("sd3", tmp_path)
    spec = resolved("depth=0.5+blocks=scored", teacher, cache, num_samples=2)
    plan = make_plan(teacher.network.config, type(teacher.network), spec)
    assert plan.modules["transformer_blocks.1"] == "transformer_blocks.3"


class OneMore(nn.Module):
    """A block that gives out one token more than it was given."""

    def forward(self, hidden_states: Any, **more: Any) -> Any:
        """The tokens and one more."""
        return torch.cat([hidden_states, hidden_states[:, :1]], dim=1)


class OneLess(nn.Module):
    """A block that gives out one token less than it was given."""

    def forward(self, hidden_states: Any, **more: Any) -> Any:
        """The tokens but the last."""
        return hidden_states[:, :-1]


def test_what_cannot_be_scored_is_one_clear_line(tmp_path: Path) -> None:
    teacher, cache = with_cache("dit", tmp_path)
    with pytest.raises(UserError, match=r"measures the teacher on D: teacher.student\(spec, cache=cache\)"):
        resolved("depth=0.5+blocks=scored", teacher, None)
    other = Teacher.from_pipeline(dit(seed=1))
    with pytest.raises(UserError, match="was made by another teacher"):
        resolved("depth=0.5+blocks=scored", other, cache)
    unet = Teacher.from_pipeline(sd())
    for blocks in ("ends", "scored"):
        with pytest.raises(UserError, match=f"blocks={blocks} is for stacks of alike blocks, got UNet2DConditionModel"):
            resolved(f"depth=0.5+blocks={blocks}", unet, cache)
    (stack,) = find_stacks(type(teacher.network), teacher.network.config)
    with pytest.raises(UserError, match="num_samples=0"):
        score_blocks(teacher, cache, stack, num_samples=0)
    blocks: Any = teacher.network.get_submodule("transformer_blocks")
    blocks[2], blocks[3] = OneMore(), OneLess()
    with pytest.raises(UserError, match=r"block transformer_blocks\.2 gives out what it was not given"):
        score_blocks(teacher, cache, stack, num_samples=1)
    assert not any(module._forward_hooks for module in teacher.network.modules())


def test_scores_are_plain_numbers(tmp_path: Path) -> None:
    teacher, cache = with_cache("dit", tmp_path)
    (stack,) = find_stacks(type(teacher.network), teacher.network.config)
    assert len(json.loads(json.dumps(score_blocks(teacher, cache, stack, num_samples=1)))) == 4
