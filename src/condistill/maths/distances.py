"""Distances between tensors and distributions, and the 95 % intervals that go with measured numbers.

>>> frechet_distance(*moments(np.array([[0.0], [2.0]])), *moments(np.array([[3.0], [5.0]])))
9.0
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from condistill.maths import draws

_Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal


def mse_per_sample(a: Float[Tensor, "b *shape"], b: Float[Tensor, "b *shape"]) -> Float[Tensor, " b"]:
    """Mean squared difference of each row, (b,) float32, computed in float32 whatever comes in.

    Raises:
        ValueError: the shapes differ; broadcasting would hide a mistake here.
    """
    if a.shape != b.shape:
        raise ValueError(f"mse_per_sample wants two tensors of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    # one pass each way, and no copy of features that are channels_last
    each = functional.mse_loss(a.float(), b.float(), reduction="none")
    return each.mean(dim=tuple(range(1, each.ndim)))


def moments(features: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Mean (d,) and unbiased covariance (d, d) of the rows, float64.

    Raises:
        ValueError: fewer than two rows; a covariance needs two.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"moments wants at least two rows of features (n, d), got shape {features.shape}")
    mean = features.mean(axis=0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


@dataclass(frozen=True)
class Gaussian:
    """Mean (d,) and covariance (d, d): all that the Frechet distance looks at."""

    mu: Float[np.ndarray, " d"]
    sigma: Float[np.ndarray, "d d"]


def _root(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """The symmetric square root of a symmetric positive semi-definite matrix; rounding below zero is cut off."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T


def frechet_distance(
    mu1: Float[np.ndarray, " d"],
    sigma1: Float[np.ndarray, "d d"],
    mu2: Float[np.ndarray, " d"],
    sigma2: Float[np.ndarray, "d d"],
) -> float:
    """Squared Frechet distance of two Gaussians: |mu1 - mu2|^2 + tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^(1/2)), >= 0.

    The trace of the last root is taken as the sum of singular values of sigma1^(1/2) sigma2^(1/2), which equals it,
    stays real, and needs neither full rank nor the small diagonal that the usual sqrtm of a product needs.

    Source: Dowson and Landau (1982), eq. 4; the FID of Heusel et al. (2017).

    Raises:
        ValueError: the two do not have the same number of dimensions.
    """
    mu1, mu2, sigma1, sigma2 = (np.asarray(x, dtype=np.float64) for x in (mu1, mu2, sigma1, sigma2))
    if mu1.shape != mu2.shape or sigma1.shape != sigma2.shape or sigma1.shape != (*mu1.shape, *mu1.shape):
        shapes = [tuple(x.shape) for x in (mu1, sigma1, mu2, sigma2)]
        raise ValueError(f"frechet_distance wants means (d,) and covariances (d, d) of one d, got {shapes}")
    cross = np.linalg.svd(_root(sigma1) @ _root(sigma2), compute_uv=False).sum()
    difference = mu1 - mu2
    return float(max(0.0, difference @ difference + np.trace(sigma1) + np.trace(sigma2) - 2.0 * cross))


def frechet_to(reference: Float[np.ndarray, "m d"]) -> Callable[[Float[np.ndarray, "n d"]], float]:
    """features (n, d) -> their `frechet_distance` to `reference`, several times faster where it is asked for often."""
    return frechet_to_gaussian(Gaussian(*moments(reference)))


def frechet_to_gaussian(reference: Gaussian) -> Callable[[Float[np.ndarray, "n d"]], float]:
    """features (n, d) -> their `frechet_distance` to `reference`.

    With R the root of the reference's covariance and X the centred features / sqrt(n - 1), the trace of the root is
    the sum of the singular values of X R, taken from the smaller of its two Gram matrices. What is rounded away there
    is of the order of 1e-8 of the largest.
    """
    mu, root, trace = reference.mu, _root(reference.sigma), np.trace(reference.sigma)

    def distance(features: Float[np.ndarray, "n d"]) -> float:
        mean = features.mean(axis=0)
        centred = (features - mean) / math.sqrt(len(features) - 1)
        product = centred @ root  # (n, d)
        gram = product @ product.T if len(product) < len(root) else product.T @ product
        cross = np.sqrt(np.linalg.eigvalsh(gram).clip(min=0.0)).sum()
        difference = mean - mu
        return float(max(0.0, difference @ difference + (centred**2).sum() + trace - 2.0 * cross))

    return distance


def wilson_interval(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval (low, high) for a proportion of which k of n were observed.

    Unlike the textbook interval it is right near 0 and 1: 0 of 80 is "below 4.6 %", not "exactly 0".

    Source: Wilson (1927).

    Raises:
        ValueError: n < 1, or k not in 0 ... n.
    """
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"wilson_interval wants 0 <= k <= n and n >= 1, got k={k}, n={n}")
    share, z2 = k / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return (0.0 if k == 0 else max(0.0, centre - half), 1.0 if k == n else min(1.0, centre + half))


def resamples(n: int, seed: int, *, num_resamples: int = 1000) -> Int[np.ndarray, "r n"]:
    """Indices of `num_resamples` bootstrap samples of n items, int64; the same for the same seed and n."""
    counters = draws.numbers(0, num_resamples * n)
    return draws.integers(seed, "bootstrap", counters, n).reshape(num_resamples, n)


def bootstrap_interval(
    values: Sequence[float] | Float[np.ndarray, " n"],
    seed: int,
    *,
    num_resamples: int = 1000,
    statistic: Callable[[np.ndarray], float] | None = None,
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval (low, high) of the mean of `values`, or of `statistic` of their rows.

    Args:
        values: (n, ...) one row per independent item.
        seed: of the resampling; the same seed resamples the same items, so paired differences stay paired.
        num_resamples: 1000 puts the ends within about 5 % of the interval's length.
        statistic: resampled rows -> number; the mean where not given.

    Raises:
        ValueError: no values.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        raise ValueError("bootstrap_interval wants at least one value, got none")
    rows = resamples(len(values), seed, num_resamples=num_resamples)
    if statistic is None:
        estimates = values[rows].mean(axis=1)
    else:
        estimates = np.array([statistic(values[row]) for row in rows])
    low, high = np.quantile(estimates, [0.025, 0.975])
    return float(low), float(high)
