"""Held: places of the sampler's own sample that the denoiser's answer does not reach (a first frame that is given)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from condistill.cache.values import is_plain
from condistill.errors import UserError
from condistill.maths.randomise import Key
from condistill.teacher.noisy import Noisy
from condistill.teacher.recording import Recording
from condistill.teacher.running import Runner
from condistill.teacher.view import View

STILL = 0.3  # of the spread of x_t; LTX puts a noise of 0.15 on what is given, anew in every step


def with_held(
    noisy: dict[str, Noisy], view: View, whole: Recording, runner: Runner, keys: Sequence[Key], n: int
) -> dict[str, Noisy]:
    """The arguments that hold x_t, with what is held in it as given.

    Those places are told by running the loop twice, with answers of zeros and of ones: there x_t is the same in both
    runs and stands still. Where it moves from noise to data with the time (a part that is not painted anew, put back in
    after every step) it is an x_t like any other.

    Args:
        noisy: the arguments, as found in the first step.
        view: the layout of the sample.
        whole: a recording of some steps, answered with zeros.
        keys: n that it was made with.

    Raises:
        UserError: what is held is not held for every item, or not in an argument that could be put together again.
    """
    given = [*runner.call.values(), *(value for key in keys if isinstance(key, Mapping) for value in key.values())]
    if all(is_plain(value) for value in given):
        return noisy
    other = runner.run(keys, mode="ones", max_steps=len(whole.times))
    held = held_places(whole.samples, other.samples)
    if held is None:
        return noisy
    places = view(held, n)
    name = type(runner.network).__name__
    if not bool((places == places[:1]).all()):
        raise UserError(f"{type(runner.pipeline).__name__} holds other parts of x_t for other items; give all the same")
    return {path: _holding(one, places[0], path, name) for path, one in noisy.items()}


def held_places(zeros: Sequence[Tensor], ones: Sequence[Tensor]) -> Tensor | None:
    """Where x_t does not follow the answer and stands still, (*sample) bool; None if nowhere or everywhere.

    Args:
        zeros, ones: the sample before each step, answered with zeros and with ones.
    """
    pairs = [(a, b) for a, b in zip(zeros, ones, strict=False) if a.shape == zeros[0].shape == b.shape][1:]
    if len(pairs) < 2:
        return None
    held = torch.stack([a == b for a, b in pairs]).all(dim=0)
    if not bool(held.any()) or bool(held.all()):
        return None
    moved = (pairs[-1][0] - pairs[0][0])[held].double().square().mean().sqrt()
    spread = zeros[0][~held].double().square().mean().sqrt()
    return held if bool(moved <= STILL * spread) else None


def _holding(one: Noisy, places: Tensor, path: str, name: str) -> Noisy:
    if one.part is not None and one.part[0] > 0:
        return one  # what the second sampler steps
    if one.frames is not None or one.shape != tuple(places.shape):
        raise UserError(f"a part of x_t is held in its place, but not as argument {path!r} of {name} takes it")
    corner = one.corner
    if one.axis is not None:
        corner = tuple(one.start if axis == one.axis else 0 for axis in range(len(one.shape)))
        whole = torch.Size(one.total if axis == one.axis else size for axis, size in enumerate(one.shape))
    else:
        whole = places.shape if one.given is None else one.given.shape
    given: Any = torch.ones(whole, dtype=torch.bool) if one.axis is not None else one.given
    if corner is None:
        return replace(one, given=places.cpu() if given is None else given | places.cpu())
    given = given.clone()
    given[tuple(slice(start, start + size) for start, size in zip(corner, one.shape, strict=True))] = places.cpu()
    return replace(one, axis=None, start=0, total=0, given=given, corner=corner)
