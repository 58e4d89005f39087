"""Balls around images, out to their k-th neighbour: what precision, recall, density and coverage count.

Source: Kynkaanniemi et al. (2019) for precision and recall, Naeem et al. (2020) for density and coverage; k = 5 for all
four, as in the latter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from condistill.errors import UserError
from condistill.evaluate.metrics import Material
from condistill.evaluate.metrics._frechet import images_of

NEIGHBOURS = 5
FEATURE = "inception"
_ROWS = 1000  # of a matrix of distances at once


@dataclass(frozen=True)
class Both:
    """Features of the images (n, d) and of the reference images (m, d)."""

    images: Float[np.ndarray, "n d"]
    reference: Float[np.ndarray, "m d"]


def both(name: str, material: Material) -> Both:
    """What the metric `name` compares.

    Raises:
        UserError: too few images for k neighbours, or a reference of statistics alone.
    """
    images = np.asarray(material.views[FEATURE], dtype=np.float64)
    reference = images_of(name, FEATURE, material)
    if min(len(images), len(reference)) <= NEIGHBOURS:
        raise UserError(
            f"{name} needs more than {NEIGHBOURS} images, got {len(images)} and {len(reference)} of reference; raise "
            "num_items or leave the metric out"
        )
    return Both(images, reference)


def distances(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Iterator[Float[np.ndarray, "r m"]]:
    """Squared distances of the rows of a to all rows of b, some rows at a time."""
    lengths = np.square(b).sum(axis=1)
    for start in range(0, len(a), _ROWS):
        some = a[start : start + _ROWS]
        yield np.square(some).sum(axis=1)[:, None] + lengths - 2 * some @ b.T


def radii(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Squared distance of each row to its k-th nearest other row."""
    found, start = [], 0
    for block in distances(x, x):
        block[np.arange(len(block)), start + np.arange(len(block))] = -1.0  # itself comes first, whatever rounding says
        found.append(np.partition(block, NEIGHBOURS, axis=1)[:, NEIGHBOURS])
        start += len(block)
    return np.concatenate(found)
