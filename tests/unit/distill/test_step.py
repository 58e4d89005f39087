"""The step: limits of random conditioning, what is compared, and who gets a gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from condistill import Teacher, UserError
from condistill.cache.batch import Batch
from condistill.corpus import corpus
from condistill.distill import LossWeights, Method, Pupil, distillation_step, draw
from condistill.distill.losses import guided
from condistill.maths import p_random
from condistill.maths.draws import numbers
from condistill.teacher.taps import taps
from tests import tiny

B = 6
OTHERS = ["a cat", "a dog", "a cow"]


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.from_pipeline(tiny.sd())


@pytest.fixture
def batch() -> Batch:
    x0 = torch.randn(B, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch(x0=x0, keys=tuple(f"seen {k}" for k in range(B)), bound={})


def method(p: object = "exponential", **changes: object) -> Method:
    return Method(p_random=p_random(p), corpus=corpus(OTHERS), **changes)  # type: ignore[arg-type]


def test_p_0_swaps_nothing_and_p_1_swaps_every_key(teacher: Teacher, batch: Batch) -> None:
    never = draw(batch, numbers(0, B), method(0, p_null=0.0), teacher.noise_path)
    always = draw(batch, numbers(0, B), method(1, p_null=0.0), teacher.noise_path)
    assert never.keys.keys == batch.keys and not never.keys.swapped.any()
    assert set(always.keys.keys) <= set(OTHERS) and always.keys.swapped.all()


def test_p_does_not_touch_time_and_noise(teacher: Teacher, batch: Batch) -> None:
    """p = 0 is plain distillation bit for bit: the other draws have streams of their own."""
    a = draw(batch, numbers(0, B), method(0), teacher.noise_path)
    b = draw(batch, numbers(0, B), method(1), teacher.noise_path)
    assert torch.equal(a.t, b.t) and torch.equal(a.eps, b.eps) and (a.keys.dropped == b.keys.dropped).all()


def test_draws_do_not_depend_on_the_batch(teacher: Teacher, batch: Batch) -> None:
    whole = draw(batch, numbers(40, B), method("sigmoid"), teacher.noise_path)
    half = Batch(x0=batch.x0[3:], keys=batch.keys[3:], bound={})
    part = draw(half, numbers(43, 3), method("sigmoid"), teacher.noise_path)
    assert torch.equal(whole.t[3:], part.t) and torch.equal(whole.eps[3:], part.eps)
    assert whole.keys.keys[3:] == part.keys.keys


def test_swap_rate_follows_p(teacher: Teacher) -> None:
    n = 4000
    big = Batch(x0=torch.zeros(n, 1), keys=("seen",) * n, bound={})
    drawn = draw(big, numbers(0, n), method("sigmoid"), teacher.noise_path)
    for low in np.arange(0, 1, 0.2):
        inside = ((drawn.u >= low) & (drawn.u < low + 0.2)).numpy()
        # about 800 draws a bin: 4 standard deviations are at most 0.07
        assert drawn.keys.swapped[inside].mean() == pytest.approx(float(drawn.p[inside].mean()), abs=0.07)
    # swap first, drop second: nulls stay at 10 % whatever p is; 4 standard deviations
    assert drawn.keys.dropped.mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("weights", [LossWeights(), LossWeights(task=0.5)], ids=str)
def test_the_teacher_as_its_own_student_has_no_loss_but_the_task(
    teacher: Teacher, batch: Batch, weights: LossWeights
) -> None:
    student = teacher.student("depth=1.0")
    pupil = Pupil(student.network, student.plan.taps)  # type: ignore[union-attr]
    m = method("linear", weights=weights)
    terms = distillation_step(
        teacher, [pupil], batch, draw(batch, numbers(0, B), m, teacher.noise_path), method=m, network=teacher.network
    )[0]
    assert (terms.output == 0).all() and len(terms.taps) > 0
    assert all((value == 0).all() for value in terms.taps.values())
    assert (float(terms.loss) > 0) == (weights.task > 0)


def test_the_loss_is_the_sum_of_its_terms_and_reaches_student_and_projections(teacher: Teacher, batch: Batch) -> None:
    student = teacher.student("c-micro", init="random")
    pupil = Pupil(student.network, student.plan.taps).train()  # type: ignore[union-attr]
    m = method("linear", weights=LossWeights(output=2.0, feature=0.5))
    drawn = draw(batch, numbers(0, B), m, teacher.noise_path)
    terms = distillation_step(teacher, [pupil], batch, drawn, method=m, network=teacher.network)[0]
    expected = 2.0 * terms.output.mean() + 0.5 * sum(value.mean() for value in terms.taps.values())
    torch.testing.assert_close(terms.loss.detach(), expected)
    terms.loss.backward()
    assert len(pupil.projections) == len(terms.taps)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pupil.projections.parameters())
    assert all(p.grad is None for p in teacher.network.parameters())


def test_task_loss_is_only_over_samples_that_kept_their_condition(teacher: Teacher, batch: Batch) -> None:
    student = teacher.student("b-base")
    pupil = Pupil(student.network, student.plan.taps)  # type: ignore[union-attr]
    m = method(0.5, weights=LossWeights(task=1.0))
    drawn = draw(batch, numbers(0, B), m, teacher.noise_path)
    assert 0 < drawn.keys.swapped.sum() < B
    terms = distillation_step(teacher, [pupil], batch, drawn, method=m, network=teacher.network)[0]
    assert ((terms.task == 0).numpy() == drawn.keys.swapped).all()  # type: ignore[union-attr]


def test_one_teacher_pass_serves_several_students(teacher: Teacher, batch: Batch) -> None:
    students = [teacher.student("b-base"), teacher.student("b-small")]
    pupils = [Pupil(one.network, one.plan.taps).eval() for one in students]  # type: ignore[union-attr]
    m = method("linear")
    drawn = draw(batch, numbers(0, B), m, teacher.noise_path)
    calls: list[int] = []
    handle = teacher.network.register_forward_hook(lambda *_: calls.append(1))
    both = distillation_step(teacher, pupils, batch, drawn, method=m, network=teacher.network)
    handle.remove()
    assert len(calls) == 1
    for pupil, terms in zip(pupils, both, strict=True):
        alone = distillation_step(teacher, [pupil], batch, drawn, method=m, network=teacher.network)[0]
        assert torch.equal(alone.loss, terms.loss)


def test_loss_weights_are_checked() -> None:
    for bad in ({"output": -1.0}, {"output": 0.0, "feature": 0.0}, {"task": float("nan")}):
        with pytest.raises(UserError, match="loss weights"):
            LossWeights(**bad)


def test_relative_taps_are_divided_by_the_teachers_energy(teacher: Teacher, batch: Batch) -> None:
    student = teacher.student("b-base")
    pupil = Pupil(student.network, student.plan.taps)  # type: ignore[union-attr]
    plain, relative = method("linear"), method("linear", weights=LossWeights(taps="relative"))
    drawn = draw(batch, numbers(0, B), plain, teacher.noise_path)
    found = [
        distillation_step(teacher, [pupil], batch, drawn, method=m, network=teacher.network)[0]
        for m in (plain, relative)
    ]
    names = list(found[0].taps)
    condition = teacher.encode(drawn.keys.keys)
    x_t = teacher.noise_path.add_noise(batch.x0, drawn.eps, drawn.t)
    with torch.no_grad(), taps(teacher.network, names) as features:
        teacher.network(**teacher.arguments(x_t, drawn.t, condition))
    energy = {name: features[name].square().mean() for name in names}
    expected = found[0].output.mean() + sum(found[0].taps[name].mean() / energy[name] for name in names)
    torch.testing.assert_close(found[1].loss.detach(), expected)
    assert all(torch.equal(found[0].taps[name], found[1].taps[name]) for name in names), "the log keeps the plain terms"


def test_a_tap_can_have_a_weight_of_its_own(teacher: Teacher, batch: Batch) -> None:
    student = teacher.student("b-base")
    pupil = Pupil(student.network, student.plan.taps)  # type: ignore[union-attr]
    weights = LossWeights(taps={"down_blocks.0": 0.0, "up_blocks.1": 3.0})
    m = method("linear", weights=weights)
    drawn = draw(batch, numbers(0, B), m, teacher.noise_path)
    terms = distillation_step(teacher, [pupil], batch, drawn, method=m, network=teacher.network)[0]
    scale = {"down_blocks.0": 0.0, "up_blocks.1": 3.0}
    expected = terms.output.mean() + sum(scale.get(name, 1.0) * value.mean() for name, value in terms.taps.items())
    torch.testing.assert_close(terms.loss.detach(), expected)
    with pytest.raises(UserError, match=r"unknown tap 'down_block\.0'; did you mean 'down_blocks\.0'"):
        LossWeights(taps={"down_block.0": 1.0}).check_taps(list(terms.taps))


def test_a_guided_target_is_the_teachers_guided_prediction(teacher: Teacher, batch: Batch) -> None:
    student = teacher.student("depth=1.0")
    pupil = Pupil(student.network, student.plan.taps)  # type: ignore[union-attr]
    m = method("linear", weights=LossWeights(guidance=3.0, feature=0.0), p_null=0.0)
    drawn = draw(batch, numbers(0, B), m, teacher.noise_path)
    terms = distillation_step(teacher, [pupil], batch, drawn, method=m, network=teacher.network)[0]
    x_t = teacher.noise_path.add_noise(batch.x0, drawn.eps, drawn.t)
    with torch.no_grad():
        own = teacher.predict(x_t, drawn.t, teacher.encode(drawn.keys.keys))
        null = teacher.predict(x_t, drawn.t, teacher.encode([""] * B))
    # the student is the teacher without guidance: what it lacks is (3 - 1) (T - T_null)
    expected = (2.0 * (own - null)).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(terms.output, expected, rtol=1e-4, atol=1e-8)
    dropped = draw(batch, numbers(0, B), method("linear", weights=m.weights, p_null=1.0), teacher.noise_path)
    terms = distillation_step(teacher, [pupil], batch, dropped, method=m, network=teacher.network)[0]
    assert (terms.output < 1e-10).all(), "with the null condition there is nothing to guide away from"


def test_guidance_leaves_a_learned_variance_alone() -> None:
    conditional, null = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)
    found = guided(conditional, null, scale=2.0, num_channels=4)
    torch.testing.assert_close(found[:, :4], 2 * conditional[:, :4] - null[:, :4])
    assert torch.equal(found[:, 4:], conditional[:, 4:])


def test_ways_to_sum_taps_are_checked() -> None:
    with pytest.raises(UserError, match="unknown way to sum taps 'relativ'; did you mean 'relative'"):
        LossWeights(taps="relativ")
    with pytest.raises(UserError, match="has no effect"):
        LossWeights(taps="relative", feature=0.0)
    with pytest.raises(UserError, match="loss weights"):
        LossWeights(guidance=-1.0)
