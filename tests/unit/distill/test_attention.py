"""The kernel of attention: plain products where a small network trains under autocast on a CPU, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from condistill.distill.attention import small_attention

SMALL, LARGE = torch.zeros(2, 4, 8, 8), torch.zeros(1, 4, 64, 64)


def uses_flash(x_t: torch.Tensor, *, precision: torch.dtype | None, checkpointed: bool = False) -> bool:
    network = nn.Identity()
    network.is_gradient_checkpointing = checkpointed  # type: ignore[assignment]
    autocast = torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None)
    with autocast, small_attention(network, x_t):
        return torch.backends.cuda.flash_sdp_enabled()


def test_only_a_small_network_under_autocast_is_changed() -> None:
    assert not uses_flash(SMALL, precision=torch.bfloat16)
    assert uses_flash(SMALL, precision=None) and uses_flash(LARGE, precision=torch.bfloat16)
    assert uses_flash(SMALL, precision=torch.bfloat16, checkpointed=True)
    assert torch.backends.cuda.flash_sdp_enabled()


def test_both_kernels_give_one_answer_and_one_gradient() -> None:
    """In bfloat16, eight bits: within 2 % of the largest, seen .6 %."""
    drawn = torch.Generator().manual_seed(0)
    given = [torch.randn(2, 4, 16, 8, generator=drawn).bfloat16() for _ in range(3)]
    found = []
    for is_small in (False, True):
        q, k, v = (one.clone().requires_grad_(True) for one in given)
        with torch.autocast("cpu", dtype=torch.bfloat16), small_attention(nn.Identity(), SMALL if is_small else LARGE):
            answer = nn.functional.scaled_dot_product_attention(q, k, v)
        answer.float().square().sum().backward()
        found.append([answer.detach(), *(one.grad for one in (q, k, v))])
    for a, b in zip(*found, strict=True):
        assert float((a.float() - b.float()).abs().max()) <= 0.02 * float(b.float().abs().max())  # type: ignore


def test_bfloat16_trains_like_float32() -> None:
    """The loss of one step under autocast within 2 % of the plain one; seen .2 %."""
    from condistill import Teacher
    from condistill.cache.batch import Batch
    from condistill.corpus import corpus
    from condistill.distill import Method, Pupil, distillation_step, draw
    from condistill.maths import p_random
    from condistill.maths.draws import numbers
    from tests import tiny

    teacher = Teacher.from_pipeline(tiny.sd())
    student = teacher.student("b-base")
    x0 = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch(x0=x0, keys=("a cat", "a dog", "a cow", "a hen"))
    method = Method(p_random=p_random("sigmoid"), corpus=corpus(["a cup", "a key"]))
    drawn = draw(batch, numbers(0, 4), method, teacher.noise_path)
    pupil, losses = Pupil(student.network.requires_grad_(True), student.plan.taps).train(), []  # type: ignore
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            terms = distillation_step(teacher, [pupil], batch, drawn, method=method, network=teacher.network)[0]
        terms.loss.backward()
        losses.append(float(terms.loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
