"""Draws depend on (seed, purpose, number) and on nothing else."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condistill.maths.draws import generator, integers, normal, numbers, permuted, uniforms


@given(st.integers(0, 2**40), st.integers(0, 2**60), st.integers(1, 50), st.integers(0, 49))
def test_row_k_is_the_same_in_any_batch(seed: int, start: int, count: int, k: int) -> None:
    k %= count
    whole = uniforms(seed, "swap", numbers(start, count))
    assert whole[k] == uniforms(seed, "swap", numbers(start + k, 1))[0]
    assert (whole >= 0).all() and (whole < 1).all()


def test_normal_rows_do_not_depend_on_the_batch_or_on_global_state() -> None:
    torch.manual_seed(1)
    whole = normal(3, "noise", numbers(10, 5), (2, 3))
    torch.manual_seed(2)
    assert torch.equal(whole[3:4], normal(3, "noise", numbers(13, 1), (2, 3)))
    assert whole.dtype == torch.float32 and whole.shape == (5, 2, 3)
    assert normal(0, "noise", numbers(0, 0), (2,)).shape == (0, 2)


def test_purposes_and_seeds_are_unrelated() -> None:
    n = numbers(0, 20_000)
    columns = [uniforms(0, "t", n), uniforms(0, "swap", n), uniforms(1, "t", n)]
    columns.append(np.roll(columns[0], 1))
    correlation = np.corrcoef(columns) - np.eye(4)
    # 20,000 independent pairs: standard deviation 0.007
    assert abs(correlation).max() < 0.03


def test_uniforms_are_uniform() -> None:
    counts, _ = np.histogram(uniforms(7, "t", numbers(0, 100_000)), bins=20, range=(0, 1))
    chi = ((counts - 5000) ** 2 / 5000).sum()
    assert chi < 45  # 19 degrees of freedom: exceeded once in 1,000


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 300), st.integers(0, 5))
def test_every_epoch_is_a_permutation(seed: int, size: int, epoch: int) -> None:
    order = permuted(seed, "order", numbers(epoch * size, size), size)
    assert sorted(order) == list(range(size))


def test_epochs_differ_and_split_batches_agree() -> None:
    first, second = permuted(0, "order", numbers(0, 100), 100), permuted(0, "order", numbers(100, 100), 100)
    assert (first != second).any()
    assert (permuted(0, "order", numbers(95, 10), 100) == np.concatenate([first[95:], second[:5]])).all()


def test_integers_cover_their_range() -> None:
    drawn = integers(0, "item", numbers(0, 1000), 7)
    assert set(drawn) == set(range(7))


def test_generators_of_two_numbers_differ() -> None:
    a, b = (torch.randn(4, generator=generator(0, "sample", k)) for k in (0, 1))
    assert not torch.equal(a, b)
