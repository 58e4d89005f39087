"""Batch: what D gives for b samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from condistill.maths.randomise import Key


@dataclass(frozen=True)
class Batch:
    """b samples of D.

    Attributes:
        x0: (b, *latent) float32, in the denoiser's own space.
        keys: the b conditions they were made for.
        bound: path of the denoiser's argument -> (b, ...): what belongs to each x0 and is never swapped.
    """

    x0: Float[Tensor, "b *latent"]
    keys: tuple[Key, ...]
    bound: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)
