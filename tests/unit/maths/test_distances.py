"""Distances and intervals against closed forms, scipy, and their own limits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from condistill.maths.distances import (
    bootstrap_interval,
    frechet_distance,
    frechet_to,
    moments,
    mse_per_sample,
    resamples,
    wilson_interval,
)


def random_covariance(seed: int, d: int = 6, rank: int | None = None) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(d, rank or 2 * d))
    return root @ root.T / root.shape[1]


def test_mse_per_sample_is_the_mean_of_each_row():
    a, b = torch.zeros(3, 2, 4), torch.arange(3.0).view(3, 1, 1).expand(3, 2, 4)
    assert mse_per_sample(a, b).tolist() == [0.0, 1.0, 4.0]


def test_mse_per_sample_is_float32_for_half_precision():
    # 300^2 overflows float16
    assert mse_per_sample(torch.full((1, 2), 300.0).half(), torch.zeros(1, 2).half()).tolist() == [90000.0]


def test_mse_per_sample_refuses_to_broadcast():
    with pytest.raises(ValueError, match="one shape"):
        mse_per_sample(torch.zeros(2, 3), torch.zeros(1, 3))


def test_moments_are_those_of_numpy():
    features = np.random.default_rng(0).normal(size=(20, 3))
    mean, covariance = moments(features)
    np.testing.assert_allclose(mean, features.mean(0))
    np.testing.assert_allclose(covariance, np.cov(features, rowvar=False))
    with pytest.raises(ValueError, match="two rows"):
        moments(features[:1])


def test_frechet_distance_of_diagonal_gaussians_has_a_closed_form():
    s1, s2 = np.array([1.0, 4.0, 0.0]), np.array([9.0, 4.0, 2.0])
    mu = np.array([1.0, -2.0, 0.5])
    expected = (mu**2).sum() + ((np.sqrt(s1) - np.sqrt(s2)) ** 2).sum()
    assert frechet_distance(mu, np.diag(s1), np.zeros(3), np.diag(s2)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_frechet_distance_agrees_with_scipy_sqrtm(seed):
    a, b = random_covariance(seed), random_covariance(seed + 100)
    mu = np.random.default_rng(seed).normal(size=6)
    root = scipy.linalg.sqrtm(a @ b)
    expected = mu @ mu + np.trace(a + b - 2 * root.real)
    assert frechet_distance(mu, a, np.zeros(6), b) == pytest.approx(expected, rel=1e-8)


@given(st.integers(0, 1000), st.integers(1, 6))
def test_frechet_distance_is_symmetric_non_negative_and_zero_for_equals(seed, rank):
    a, b = random_covariance(seed, rank=rank), random_covariance(seed + 1)
    m1, m2 = np.ones(6), np.zeros(6)
    there, back = frechet_distance(m1, a, m2, b), frechet_distance(m2, b, m1, a)
    assert there == pytest.approx(back, rel=1e-9) and there >= 0
    # singular covariances: sqrt of rounding errors of 1e-16 leaves 1e-7 or so
    assert frechet_distance(m1, a, m1, a) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(5, 40), (40, 5), (40, 40)])
def test_frechet_to_is_frechet_distance(n, m):
    draw = np.random.default_rng(n)
    features, reference = draw.normal(size=(n, 8)) * 3 + 1, draw.normal(size=(m, 8))
    # 1e-6: square roots of rounded zeros, where there are fewer rows than dimensions
    assert frechet_to(reference)(features) == pytest.approx(
        frechet_distance(*moments(features), *moments(reference)), rel=1e-6
    )


def test_frechet_distance_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="of one d"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # 0 of n: z^2 / (n + z^2); 5 of 10: the well-known table value
    [(0, 80, 0.0, 0.04582), (80, 80, 0.95418, 1.0), (5, 10, 0.23659, 0.76341)],
)
def test_wilson_interval_against_reference_numbers(k, n, low, high):
    assert wilson_interval(k, n) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_in_the_unit_interval(case):
    k, n = case
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = wilson_interval(n - k, n)
    assert (1 - high, 1 - low) == pytest.approx(mirrored)


def test_wilson_interval_refuses_impossible_counts():
    with pytest.raises(ValueError, match="k=3, n=2"):
        wilson_interval(3, 2)


def test_bootstrap_interval_of_the_mean_has_the_normal_length():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(values, 0)
    assert low < values.mean() < high
    # 2 * 1.96 / sqrt(400) = 0.196; 15 % for the bootstrap's own noise and the sample's variance
    assert high - low == pytest.approx(0.196, rel=0.15)


def test_bootstrap_interval_is_reproducible_and_depends_on_its_seed():
    values = np.random.default_rng(1).normal(size=30)
    assert bootstrap_interval(values, 3) == bootstrap_interval(values, 3)
    assert bootstrap_interval(values, 3) != bootstrap_interval(values, 4)


def test_bootstrap_interval_of_any_statistic_and_of_constants():
    values = np.random.default_rng(1).normal(size=30)
    by_mean = bootstrap_interval(values, 0, statistic=lambda rows: float(rows.mean()))
    assert by_mean == pytest.approx(bootstrap_interval(values, 0))
    assert bootstrap_interval([2.0, 2.0, 2.0], 0) == (2.0, 2.0)
    with pytest.raises(ValueError, match="none"):
        bootstrap_interval([], 0)


def test_resamples_draw_every_item():
    rows = resamples(10, 0, num_resamples=50)
    assert rows.shape == (50, 10) and set(rows.ravel()) == set(range(10))
