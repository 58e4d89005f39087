"""Rounding: how far apart two recorded values may be that are the same number.

>>> import torch
>>> allowed(torch.tensor([1.0, 0.5])), allowed(torch.tensor([0.1]))
(0.008, 0.002)
"""

from __future__ import annotations

from torch import Tensor

# relative; recorded values went through half precision at most once between two runs of the same pipeline
TOLERANCE = 2e-3
# relative; of bfloat16, to which a pipeline may round twice: a value as it is, and after it was scaled
ROUNDING = 8e-3


def allowed(value: Tensor) -> float:
    """The relative error of a recorded value: whether it was rounded to bfloat16, in whatever type it is now."""
    return ROUNDING if value.is_floating_point() and bool((value == value.bfloat16()).all()) else TOLERANCE
