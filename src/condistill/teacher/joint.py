"""Joint: where a second sampler steps in the same loop (a video's sound), x_t is what both have, flat and in a row."""

from __future__ import annotations

from dataclasses import replace

import torch

from condistill.errors import UserError
from condistill.teacher.leaves import Leaves
from condistill.teacher.noisy import Noisy, find_noisy
from condistill.teacher.recording import Recording
from condistill.teacher.view import View


def with_beside(
    whole: Recording, leaves: Leaves, noisy: dict[str, Noisy], n: int, name: str
) -> tuple[View | None, dict[str, Noisy]]:
    """The layout of the second sampler's sample, and all arguments that hold a part of x_t.

    Args:
        whole: a recording of a few steps.
        leaves: of a call in the first step, with n items.
        noisy: the arguments that hold the first sampler's sample.

    Raises:
        UserError: the second sampler is at other times than the first.
    """
    if whole.beside is None:
        return None, noisy
    rest = {path: value for path, value in leaves.items() if path not in noisy and ":" not in path}
    try:
        view, second = find_noisy(rest, whole.beside.sample, n, name)
    except UserError:  # the sampler of another stage of the pipeline
        return None, noisy
    if whole.beside.times != whole.times[: len(whole.beside.times)]:
        raise UserError(
            f"{name} is given what two samplers step, each at times of its own; this pipeline is not supported"
        )
    first_size, second_size = (torch.Size(next(iter(some.values())).shape).numel() for some in (noisy, second))
    parts = {path: replace(one, part=(0, first_size)) for path, one in noisy.items()}
    after = (first_size, first_size + second_size)
    return view, parts | {path: replace(one, part=after) for path, one in second.items()}


def shape_of(noisy: dict[str, Noisy]) -> tuple[int, ...]:
    """The shape of one item's x_t: the argument's, or flat where there are two parts."""
    parts = [one.part for one in noisy.values() if one.part is not None]
    return (max(end for _, end in parts),) if parts else next(iter(noisy.values())).shape
