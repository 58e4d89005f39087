"""Student and projections as one module, so that wrapping it (DDP) synchronises, clips and saves both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from condistill.teacher.taps import answer_of, taps

if TYPE_CHECKING:
    from condistill.students import TapPair


class Pupil(nn.Module):
    """The network being trained and the learned 1x1 projections of its features to the teacher's widths.

    Attributes:
        network: the student's denoiser; saved at the end.
        pairs: which of its modules is compared with which of the teacher's.
        asker: the student as a Teacher where its pipeline gives it other arguments than the teacher's; else None.
        projections: one per pair of different width, in the order of `pairs`; discarded after training.

    Source: arXiv 2504.02011, published code of the channel-reduced students.
    """

    def __init__(self, network: nn.Module, pairs: Sequence[TapPair], *, seed: int = 0, asker: Any = None):
        super().__init__()
        self.asker = asker
        self.network = network
        self.pairs = tuple(pairs)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projections = nn.ModuleList(_projection(pair) for pair in self.pairs)

    @property
    def _no_split_modules(self) -> list[str]:
        """The classes of blocks that accelerate's FSDP2 gathers one by one where its settings name none: those that the
        network's own class names, as far as the student still has them."""
        present = {type(module).__name__ for module in self.network.modules()}
        return [name for name in getattr(self.network, "_no_split_modules", None) or () if name in present]

    def train(self, mode: bool = True) -> Pupil:
        """The pupil in training mode, its network without dropout: the teacher answers without, and dropping
        conditions is p_null's business (DiT drops labels by itself in training mode)."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, arguments: dict[str, Any]) -> tuple[Tensor | tuple[Tensor, ...], list[Tensor]]:
        """The prediction and, per pair, the projected feature.

        Raises:
            ValueError: a feature that carries no gradient.
        """
        names = [pair.student for pair in self.pairs]
        with taps(self.network, names, need_gradient=self.training) as features:
            output = answer_of(self.network(**arguments))
        projected = [layer(features[name]) for layer, name in zip(self.projections, names, strict=True)]
        return output, projected


class PointwiseProjection(nn.Module):
    """A learned linear map of the channels, for features (b, c, *space) or tokens (b, n, c)."""

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__()
        self.linear = nn.Linear(student_channels, teacher_channels)

    def forward(self, feature: Tensor) -> Tensor:
        """The feature with the teacher's number of channels."""
        if feature.ndim == 3:
            return self.linear(feature)
        return self.linear(feature.movedim(1, -1)).movedim(-1, 1)


def _projection(pair: TapPair) -> nn.Module:
    if pair.student_channels == pair.teacher_channels:
        return nn.Identity()
    return PointwiseProjection(pair.student_channels, pair.teacher_channels)
