"""Slicing keeps what belongs together, and keeps the channels that count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

import condistill.world.emoji
from condistill import Teacher
from condistill.students import Part, StudentPlan, build, make_plan
from condistill.students.channels import UNKNOWN
from tests.unit.students.networks import NETWORKS, network
from tests.unit.students.test_inherit import network as unet
from tests.unit.students.test_inherit import output
from tests.unit.students.test_planning import LAYOUTS

# without sine positions over the whole width, which a wider teacher has more of
ALIGNED = (
    "SD3Transformer2DModel", "FluxTransformer2DModel", "AuraFlowTransformer2DModel", "SanaTransformer2DModel",
    "Lumina2Transformer2DModel", "WanTransformer3DModel",
)  # fmt: skip


def copies(part: Part) -> list[int]:
    """For each channel of a teacher twice as wide the student's channel that it is a copy of, head by head."""
    assert part.teacher == 2 * part.student
    size = part.teacher // part.teacher_heads if part.teacher_heads != part.student_heads else 1
    return [k // (2 * size) * size + k % size for k in range(part.teacher)]


def widen(teacher: Any, student: dict[str, Tensor], plan: StudentPlan, *, swapped: bool) -> None:
    """Makes the teacher compute what the student does: every channel or head twice, and only one of both is read.

    Args:
        teacher: gets the weights.
        student: the tensors of the narrow network.
        plan: says what is made of heads.
        swapped: whether of heads and hidden channels the second one is read, which even spreading does not keep.
    """
    state = teacher.state_dict()
    for name, origin in plan.origins.items():
        value = student[name]
        for dim, parts in enumerate(origin.dims):
            copied: list[int] = []
            unread: list[bool] = []
            for part in parts or ():
                own, first = copies(part), set(Part(part.teacher, part.student, *_heads(part)).index())
                copied += [len(copied) // 2 + k for k in own]
                second = swapped and part.stream.startswith(("heads", "hidden"))
                unread += [(k in first) == second for k in range(part.teacher)]
            if not parts:
                continue
            value = value.index_select(dim, torch.tensor(copied))
            if dim == 1 and name.endswith("weight"):
                value[:, torch.tensor(unread)] = 0
        with torch.no_grad():
            state[origin.source or ""].copy_(value)


def _heads(part: Part) -> tuple[int, int]:
    return part.teacher_heads, part.student_heads


def answer(net: Any, name: str) -> Tensor:
    """The network's output for one item."""
    with torch.no_grad():
        return net(**NETWORKS[name][1])[0]


@pytest.mark.parametrize("name", ALIGNED)
def test_a_transformer_with_every_head_twice_loses_nothing_by_slicing(name: str) -> None:
    teacher, inputs = network(name), NETWORKS[name][1]
    plan = make_plan(teacher.config, type(teacher), "width=0.5", inputs=inputs)
    assert set(plan.origins) == set(build(plan, teacher).state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        narrow = type(teacher).from_config(dict(plan.config)).eval()
        with torch.no_grad():
            for parameter in narrow.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    widen(teacher, narrow.state_dict(), plan, swapped=False)
    # float32: the sums have other orders
    torch.testing.assert_close(answer(teacher, name), answer(narrow, name), rtol=1e-3, atol=1e-4)
    assert torch.equal(answer(build(plan, teacher), name), answer(narrow, name))
    # by weight those heads and hidden channels are found that are read, wherever they are
    widen(teacher, narrow.state_dict(), plan, swapped=True)
    assert not torch.equal(answer(build(plan, teacher), name), answer(narrow, name))
    chosen = make_plan(teacher.config, type(teacher), "width=0.5", inputs=inputs, network=teacher)
    assert torch.equal(answer(build(chosen, teacher), name), answer(narrow, name))


def test_the_origins_are_the_same_before_weights_are_there() -> None:
    teacher = network("FluxTransformer2DModel")
    inputs = NETWORKS["FluxTransformer2DModel"][1]
    plans = [make_plan(teacher.config, type(teacher), "width=0.5", inputs=inputs, network=n) for n in (None, teacher)]
    kinds = [{name: (origin.kind, origin.source) for name, origin in plan.origins.items()} for plan in plans]
    assert kinds[0] == kinds[1] and {kind for kind, _ in kinds[0].values()} == {"sliced", "inherited"}


@pytest.mark.parametrize("name", ["LTXVideoTransformer3DModel", "MochiTransformer3DModel"])
def test_heads_stay_evenly_spread_where_each_has_its_own_positions(name: str) -> None:
    teacher = network(name)
    plan = make_plan(teacher.config, type(teacher), "width=0.5", inputs=NETWORKS[name][1], network=teacher)
    parts = [part for origin in plan.origins.values() for dim in origin.dims for part in dim or ()]
    chosen = {part.stream.partition(" ")[0] for part in parts if part.chosen}
    assert chosen == {"hidden"} and any(part.stream.startswith("heads") for part in parts)


def test_channels_chosen_by_weight_start_nearer_to_the_teacher() -> None:
    teacher = Teacher.load("emoji")
    prompts = ["a panda on a green background", "a red heart", "a yellow smiling face", "the moon at night"] * 4
    condition = teacher.encode(prompts)
    x0 = teacher.sample(prompts, output="latent", call={"num_inference_steps": 5}).latents
    draws = torch.Generator().manual_seed(0)
    t = torch.randint(0, 1000, (16,), generator=draws)
    x_t = teacher.noise_path.add_noise(x0, torch.randn(x0.shape, generator=draws), t)
    net, errors = teacher.network, []
    for weights in (net, None):
        plan = make_plan(net.config, type(net), "width=0.75", network=weights)  # type: ignore[arg-type]
        student = teacher.with_network(build(plan, net))
        with torch.no_grad():
            difference = student.predict(x_t, t, condition) - teacher.predict(x_t, t, condition)
        errors.append(float(difference.square().mean()))
    assert errors[0] < 0.9 * errors[1], errors  # 0.8 of it with 32 items and two seeds


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unets_of_all_layouts_are_known_as_a_whole(layout: str) -> None:
    teacher = unet(**LAYOUTS[layout])
    plan = make_plan(teacher.config, type(teacher), "width=0.5", network=teacher)
    parts = [part for origin in plan.origins.values() for dim in origin.dims for part in dim or ()]
    assert not [part for part in parts if part.stream.startswith(UNKNOWN)]
    for part in parts:
        index = part.index()
        assert index == sorted(set(index)) and len(index) == part.student and index[-1] < part.teacher
    assert {"residual", "within"} <= {part.stream.partition(" ")[0] for part in parts if part.chosen}
    assert output(build(plan, teacher), plan.config).isfinite().all()


def test_norm_groups_keep_equally_many_channels() -> None:
    folder = Path(condistill.world.emoji.__file__).parent / "weights" / "unet"
    teacher: Any = UNet2DConditionModel.from_pretrained(folder)
    plan = make_plan(teacher.config, type(teacher), "width=0.75", network=teacher)
    part = next(iter(plan.origins["conv_in.weight"].dims[0] or ()))
    assert [k // 4 for k in part.index()] == [group for group in range(16) for _ in range(3)]
    assert part.index() != Part(64, 48).index()
    # what is written there is read there, also through a skip connection
    skip = list(plan.origins["up_blocks.2.resnets.2.conv1.weight"].dims[1] or ())[-1]
    assert skip.index() == part.index()
