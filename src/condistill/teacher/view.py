"""View: a scheduler's sample in the layout that its denoiser takes, and the layouts that there could be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """How a scheduler's sample is laid out for the denoiser: rows split, axes permuted, then shaped.

    Attributes:
        frames: rows of one item in the scheduler's sample (video samples are stepped frame by frame in places).
        axes: order of the axes after the first.
        shape: of one item in the denoiser's space.
    """

    frames: int
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def __call__(self, sample: Tensor, n: int) -> Tensor:
        """(n, *shape): the first n items of the sample in the denoiser's layout."""
        if self.frames > 1:
            sample = sample[: n * self.frames].unflatten(0, (n, self.frames))
        else:
            sample = sample[:n]
        return sample.permute(0, *self.axes).reshape(n, *self.shape)

    def takes(self, sample: Tensor, n: int) -> bool:
        """Whether the sample has the size that it had when this layout was found."""
        dims = sample.ndim if self.frames > 1 else sample.ndim - 1
        size = sample[: n * self.frames].numel()
        return dims == len(self.axes) and size == n * torch.Size(self.shape).numel()


def views(sample: Tensor, n: int, rows: Tensor) -> Iterator[View]:
    """Layouts of the sample that could be an item of `rows`, the plainest first."""
    shape = tuple(sample.shape[1:])
    yield View(1, tuple(range(1, sample.ndim)), shape)
    all_frames = [1] if sample.shape[0] % n else [1, sample.shape[0] // n]
    target = tuple(rows.shape[1:])
    for frames in dict.fromkeys(all_frames):
        dims = (frames, *shape) if frames > 1 else shape
        if len(dims) > 5:
            continue
        for axes in itertools.permutations(range(1, len(dims) + 1)):
            permuted = tuple(dims[a - 1] for a in axes)
            yield View(frames, axes, permuted)
            size = torch.Size(permuted).numel()
            if permuted != target and size == torch.Size(target).numel():
                yield View(frames, axes, target)
            elif len(target) == 2 and target[1] == permuted[-1] and size < torch.Size(target).numel():
                yield View(frames, axes, (size // target[1], target[1]))  # tokens, with those of a picture beside them


def whole_slices(differs: Tensor) -> Tensor:
    """`differs`, or the slices along one axis (frames) that it fills but for numbers that are equal by accident."""
    for axis in range(differs.ndim):
        rest = [k for k in range(differs.ndim) if k != axis]
        filled = differs.double().mean(dim=rest) > 0.5 if rest else differs
        slices = filled.view([-1 if k == axis else 1 for k in range(differs.ndim)]).expand_as(differs)
        if bool(filled.any()) and not bool((differs & ~slices).any()):
            return slices.clone()
    return differs
