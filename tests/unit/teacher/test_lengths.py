"""Keys of different length that cannot be padded: given apart; sizes and null conditions that are not there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from condistill import Teacher, UserError
from condistill.cache.batch import Batch
from condistill.corpus import corpus
from condistill.distill import Method, Pupil, distillation_step, draw
from condistill.distill.losses import Differences, joined
from condistill.maths import p_random
from condistill.maths.draws import numbers
from condistill.teacher.calibrate import calibrate
from condistill.teacher.condition import Condition
from condistill.teacher.failing import NotRun
from condistill.teacher.leaves import Rows
from condistill.teacher.running import samplers
from tests.tiny.audio_dits import ace_step, longcat_audio
from tests.tiny.catalogue import catalogue

KEYS = ["a fox", "three old ships at sea", "a cat"]  # two of one length


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.from_pipeline(ace_step(), call={"audio_duration": 4.0})


def test_samples_are_grouped_by_the_shapes_that_must_be_alike() -> None:
    rows = [torch.zeros(size, 2) for size in (3, 5, 3)]
    condition = Condition({"text": rows, "ids": torch.zeros(3, 1)}, alike=("text",))
    assert [group.tolist() for group in condition.groups() if isinstance(group, torch.Tensor)] == [[0, 2], [1]]
    assert condition.rows(torch.tensor([0, 2])).groups() == [slice(None)]
    assert Condition({"text": rows}).groups() == [slice(None)]


def test_what_groups_gave_comes_back_in_the_order_of_the_batch() -> None:
    values = torch.tensor([1.0, 3.0]), torch.tensor([2.0])
    parts = [Differences(value, {"a": value}) for value in values]
    whole = joined(parts, [torch.tensor([0, 2]), torch.tensor([1])])
    assert whole.output.tolist() == whole.taps["a"].tolist() == [1.0, 2.0, 3.0]


@torch.no_grad()
def test_keys_that_cannot_be_padded_are_given_apart(teacher: Teacher) -> None:
    assert teacher.calibration.by_length
    condition = teacher.encode(KEYS)
    assert len(condition.groups()) == 2
    x_t, t = torch.randn(3, *teacher.latent_shape), teacher.noise_path.times(torch.tensor([0.2, 0.5, 0.8]))
    whole = teacher.predict(x_t, t, condition)
    for k, key in enumerate(KEYS):
        alone = teacher.predict(x_t[k : k + 1], t[k : k + 1], teacher.encode([key]))
        torch.testing.assert_close(whole[k : k + 1], alone, rtol=1e-3, atol=1e-4)


def test_the_loss_of_a_batch_is_the_mean_over_its_lengths(teacher: Teacher) -> None:
    student = teacher.student("depth=0.5")
    pupil = Pupil(student.network, student.plan.taps)  # type: ignore[union-attr]
    method = Method(p_random("never"), corpus=corpus(KEYS), p_null=0.0)

    def terms(rows: slice) -> Any:
        x0 = torch.ones(3, *teacher.latent_shape)[rows]
        batch = Batch(x0, tuple(KEYS[rows]))
        drawn = draw(batch, numbers(rows.start, len(x0)), method, teacher.noise_path)
        return distillation_step(teacher, [pupil], batch, drawn, method=method, network=teacher.network)[0]

    whole, alone = terms(slice(0, 3)), [terms(slice(k, k + 1)) for k in range(3)]
    torch.testing.assert_close(whole.output, torch.cat([one.output for one in alone]), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(whole.loss, sum(one.loss for one in alone) / 3, rtol=1e-3, atol=1e-5)


def test_what_a_batch_shares_must_be_the_same() -> None:
    shared = Rows(is_shared=True)
    assert torch.equal(shared.joined([torch.ones(2), torch.ones(2)]), torch.ones(2))
    with pytest.raises(UserError, match="what a batch shares"):
        shared.joined([torch.ones(2), torch.zeros(2)])


def test_a_part_that_the_constructor_has_a_default_for_is_found() -> None:
    """diffusers leaves it out of `components`."""
    pipeline = longcat_audio()
    assert "scheduler" not in pipeline.components and list(samplers(pipeline)) == ["scheduler"]


def test_a_size_that_depends_on_the_key_waits_for_the_call_that_fixes_it() -> None:
    with pytest.raises(NotRun, match=r"samples depends on the key; pass what fixes it .* with call="):
        calibrate(longcat_audio(), "transformer", {})
    assert Teacher.from_pipeline(longcat_audio(), call={"audio_duration_s": 2.0}).latent_shape == (8, 8)


def test_a_pipeline_that_cannot_encode_an_empty_text_has_no_null_condition() -> None:
    case = catalogue()["bria-fibo"]
    assert Teacher.from_pipeline(case.build(), call=case.call()).null_key is None
