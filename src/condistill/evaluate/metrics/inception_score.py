"""The Inception score: is each image of one class, and are all classes drawn?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from condistill.evaluate.metrics import Material, Measured, around
from condistill.maths.distances import resamples

_NUM_RESAMPLES = 200
_SPLITS = 10
_SHUFFLE = 2020  # torch-fidelity shuffles with this seed before it splits


@dataclass(frozen=True)
class InceptionScore:
    """exp of the mean divergence of a class distribution from the mean one, averaged over ten splits of the images.

    Splits, their order and the network's input are torch-fidelity's, which the paper uses. Ten images or fewer are one
    split each and score 1. It needs no reference and says nothing about prompts. Resampling lowers it, for repeated
    images add no class, so the interval is the spread of the resampled scores laid around the measured one.

    Source: Salimans et al. (2016).
    """

    name: str = "inception_score"
    label: str = "Inception score"
    unit: str = ""
    higher_is_better: bool = True
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = ("inception_logits",)

    def compute(self, material: Material) -> Measured:
        """The score of the group."""
        logits = np.asarray(material.views["inception_logits"], dtype=np.float64)
        logits = logits - logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))  # (n, c)
        n = len(log_p)
        p, purity = np.exp(log_p), (np.exp(log_p) * log_p).sum(axis=1)  # (n, c), (n,)
        value = _score(p, purity, np.random.RandomState(_SHUFFLE).permutation(n))
        rows = resamples(n, material.seed, num_resamples=_NUM_RESAMPLES)
        return around(value, np.array([_score(p, purity, row) for row in rows]), n)


def _score(p: Float[np.ndarray, "n c"], purity: Float[np.ndarray, " n"], row: Int[np.ndarray, " n"]) -> float:
    """The score of the images in `row`, in this order.

    Args:
        p: class probabilities.
        purity: negative entropy of each of them.
        row: indices.
    """
    n, splits = len(row), min(_SPLITS, len(row))
    scores = []
    for k in range(splits):
        some = row[k * n // splits : (k + 1) * n // splits]
        counts = np.bincount(some, minlength=n)
        q = counts @ p / len(some)  # (c,)
        seen = q > 0
        scores.append(np.exp(purity[some].mean() - (q[seen] * np.log(q[seen])).sum()))
    return float(np.mean(scores))


METRIC = InceptionScore()
