"""The precision of attention: float32 where a network trains under autocast on a CPU, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from condistill.distill.attention import FEW_KEYS, CompiledAttention, Float32Attention, exact_attention

X_T = torch.zeros(2, 4, 8, 8)


def seen(*, is_enabled: bool, checkpointed: bool = False) -> torch.dtype:
    """The precision in which the kernel of attention runs, seen by what autograd keeps of it."""
    network = nn.Identity()
    network.is_gradient_checkpointing = checkpointed  # type: ignore[assignment]
    kept = []
    q = torch.randn(2, 4, 16, 8, requires_grad=True)
    with (
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_enabled),
        exact_attention(network, X_T),
        torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one.dtype) or one, lambda one: one),
    ):
        answer = scaled_dot_product_attention(q, key=q, value=q)
    assert answer.dtype == (torch.bfloat16 if is_enabled and checkpointed else torch.float32)
    return kept[0]


def test_only_a_network_under_autocast_is_changed() -> None:
    assert seen(is_enabled=True) == torch.float32 and seen(is_enabled=False) == torch.float32
    assert seen(is_enabled=True, checkpointed=True) == torch.bfloat16


@pytest.mark.parametrize("mask", [None, torch.zeros(16, 16), torch.ones(16, 16, dtype=torch.bool)])
def test_both_precisions_give_one_answer_and_one_gradient(mask: torch.Tensor | None) -> None:
    """In bfloat16, eight bits: within 2 % of the largest, seen .6 %."""
    drawn = torch.Generator().manual_seed(0)
    given = [torch.randn(2, 4, 16, 8, generator=drawn).bfloat16() for _ in range(3)]
    found = []
    for is_exact in (False, True):
        q, k, v = (one.clone().requires_grad_(True) for one in given)
        network = nn.Identity()
        network.is_gradient_checkpointing = not is_exact  # type: ignore[assignment]
        with torch.autocast("cpu", dtype=torch.bfloat16), exact_attention(network, X_T):
            answer = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        assert answer.dtype == torch.bfloat16
        answer.float().square().sum().backward()
        found.append([answer.detach(), *(one.grad for one in (q, k, v))])
    for a, b in zip(*found, strict=True):
        assert float((a.float() - b.float()).abs().max()) <= 0.02 * float(b.float().abs().max())  # type: ignore


@pytest.mark.parametrize(
    ("changes", "is_by_products"),
    [
        ({}, True),
        ({"scale": 0.3}, True),
        ({"dtype": torch.float32}, False),
        ({"num_keys": FEW_KEYS + 1}, False),
        ({"attn_mask": torch.zeros(16, 8)}, False),
        ({"is_causal": True}, False),
        ({"heads": 2, "enable_gqa": True}, False),
    ],
)
def test_compiled_code_takes_products_where_the_keys_are_few(changes: dict, is_by_products: bool) -> None:
    """One answer and one gradient in bfloat16, eight bits: within 2 % of the largest."""
    told = {"num_keys": 8, "dtype": torch.bfloat16, "heads": 4, **changes}
    dtype, heads, n = (told.pop(name) for name in ("dtype", "heads", "num_keys"))
    drawn, code = torch.Generator().manual_seed(0), []
    shapes = ((2, 4, 16, 8), (2, heads, n, 8), (2, heads, n, 8))
    given = [torch.randn(shape, generator=drawn).to(dtype).requires_grad_(True) for shape in shapes]

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return scaled_dot_product_attention(q, k, value=v, **told)

    torch.compiler.reset()
    compiled = torch.compile(attention, backend=lambda graph, _: code.append(graph.code) or graph.forward)
    with Float32Attention(), CompiledAttention():
        found = compiled(*given)
    with Float32Attention():
        want = attention(*given)
    assert ("scaled_dot_product_attention" not in code[0]) == is_by_products
    grads = [torch.autograd.grad(one.float().square().sum(), given) for one in (found, want)]
    for a, b in zip((found, *grads[0]), (want, *grads[1]), strict=True):
        assert (a - b).detach().float().abs().max() <= 0.02 * b.detach().float().abs().max()


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
