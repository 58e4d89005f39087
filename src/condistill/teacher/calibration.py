"""Calibration: the verified way to call a denoiser, as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from condistill.cache.values import is_plain, named, plain
from condistill.errors import UserError
from condistill.maths.randomise import Key
from condistill.teacher.keys import key_names
from condistill.teacher.leaves import Leaves, Rows
from condistill.teacher.noisy import Noisy
from condistill.teacher.oracle import Observed
from condistill.teacher.recording import Recording
from condistill.teacher.running import Runner
from condistill.teacher.steps import check_one_way
from condistill.teacher.timing import TimeMap
from condistill.teacher.view import View


class OtherSize(UserError):
    """What was sampled has another size than the calibration was made at."""


@dataclass(frozen=True)
class Calibration:
    """How to call the denoiser, and the networks upstream of it (a ControlNet), which run anew for every x_t.

    Paths are dotted; those of an upstream network begin with its name and a colon ("controlnet:sample").

    Attributes:
        runner: how conditions are recorded.
        templates: nested arguments of one recorded call, by network ("" is the denoiser).
        lists: paths of lists with one entry per item.
        view: how the scheduler's sample is laid out for the denoiser.
        beside: the same of what a second sampler steps; x_t is then both, flat and in a row; None if there is none.
        noisy: the arguments that hold x_t; the first is the denoiser's.
        times: the arguments that take the time.
        links: arguments that are an upstream network's output -> (its name, path in its output).
        key_paths: arguments that belong to the key.
        bound_paths: arguments with rows per item that do not belong to the key.
        bound: one item's rows of those, and at `path + "+"` what stands beside x_t or in its place.
        repeated: one item's entry of lists that do not belong to the key.
        constants: everything else.
        ragged: the arguments of the key whose shape depends on it -> the axes; they are padded at the end, or
        by_length: they cannot be padded, and only keys of one length are given to the denoiser together.
        equal: the arguments of the key that have to be equal for all items of one call (positions read from the first).
        examples: the arguments of the key as they were recorded once.
        companion: a long key that every key is encoded with, so that all get the same shape; None if not needed.
        scheduler: the name of the scheduler that steps x_t.
        null_key: the key of the null condition, None where the model has none.
        null_rows: the null condition's rows where encoding `null_key` would give others (SDXL zeroes them).
        latent_shape: shape of one x0 in the denoiser's space.
        time_range: the scheduler's times at which this denoiser is called, where it is not called at all of them.
        given: the pipeline's arguments that it was made with.
        keys: the three example keys.
        keys_given: whether they are a user's own.
        placeholders: arguments that were filled with example pictures or sizes because the call gave none.
        is_small: at a size of our own, to be calibrated anew at the one that a call will have.
        observed: the noise process in the network's own time, where it is not the scheduler's; None where it is.
    """

    runner: Runner
    templates: Mapping[str, Any]
    lists: frozenset[str]
    view: View
    noisy: Mapping[str, Noisy]
    times: Mapping[str, TimeMap]
    links: Mapping[str, tuple[str, str]]
    latent_shape: tuple[int, ...]
    scheduler: str
    beside: View | None = None
    key_paths: Mapping[str, Rows] = field(default_factory=dict)
    bound_paths: Mapping[str, Rows] = field(default_factory=dict)
    bound: Mapping[str, Tensor] = field(default_factory=dict)
    repeated: Leaves = field(default_factory=dict)
    constants: Leaves = field(default_factory=dict)
    ragged: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    by_length: bool = False
    equal: tuple[str, ...] = ()
    examples: Leaves = field(default_factory=dict)
    companion: Key | None = None
    null_key: Key | None = None
    null_rows: Mapping[str, Any] = field(default_factory=dict)
    time_range: tuple[float, float] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[Key, ...] = ()
    keys_given: bool = False
    placeholders: tuple[str, ...] = ()
    is_small: bool = False
    observed: Observed | None = None

    @property
    def call(self) -> Mapping[str, Any]:
        """The pipeline's arguments for recording conditions."""
        return self.runner.call

    @property
    def alike(self) -> tuple[str, ...]:
        """The key's arguments whose rows go into one call only where they have one shape."""
        return tuple(self.ragged) if self.by_length else ()

    @property
    def x_path(self) -> str:
        """The denoiser's argument that takes x_t."""
        return next(iter(self.noisy))

    @property
    def held(self) -> Tensor | None:
        """Where in x_t something is given in its place, (*latent) bool; None if nowhere."""
        parts = sorted(
            {one.part: one for one in reversed(list(self.noisy.values()))}.items(), key=lambda p: p[0] or (0,)
        )
        masks = [torch.zeros(one.shape, dtype=torch.bool) if one.held is None else one.held for _, one in parts]
        if not any(bool(mask.any()) for mask in masks):
            return None
        return masks[0] if len(masks) == 1 else torch.cat([mask.flatten() for mask in masks])

    def x0(self, recording: Recording, n: int) -> Tensor:
        """(n, *latent): what the steps of a recorded run have led to.

        Raises:
            UserError: it took no step or went back in time.
            OtherSize: it ended at another size.
        """
        check_one_way(recording, self.runner)
        lasts = [(self.view, recording.last)]
        if self.beside is not None:
            lasts.append((self.beside, recording.beside.last if recording.beside else None))
        if any(last is None for _, last in lasts):
            raise UserError(
                f"{type(self.runner.pipeline).__name__} took no step; num_inference_steps must be at least 1, and more "
                "where a strength leaves out the first ones"
            )
        for view, last in lasts:
            if last is not None and not view.takes(last, n):
                raise OtherSize(
                    f"what {type(self.runner.pipeline).__name__} samples has another size at its end, "
                    f"{tuple(last.shape)} for {n}, than x_t has at its beginning, {view.shape} for one; pipelines that "
                    "sample in stages of growing size are not supported"
                )
        found = [view(last.detach(), n) for view, last in lasts if last is not None]
        if self.observed is not None:
            return self.observed.scale * found[0]
        return found[0] if len(found) == 1 else torch.cat([one.flatten(1) for one in found], dim=1)

    def rows_per_item(self, path: str) -> int:
        """Rows of one item in the network that `path` belongs to: its frames, where that one sees each on its own."""
        network = _network(path)
        axes = (one.frames for other, one in self.noisy.items() if _network(other) == network)
        return next((self.latent_shape[axis] for axis in axes if axis is not None), 1)

    def says(self, name: str, value: Any) -> bool:
        """Whether the call already says so; guidance that was found to change no argument says nothing."""
        if name == "guidance_scale" and self.call.get(name) == 1.0:
            return True
        if name not in self.call or name in self.placeholders:
            return False
        own = self.call[name]
        return own is value or plain(own, named) == plain(value, named)

    def knows(self, keys: Sequence[Key]) -> bool:
        """Whether keys like these were calibrated with: the same arguments, and no example pictures."""
        if not len(keys):
            return True
        same_names = key_names(keys[0]) == key_names(self.keys[0])
        return same_names and (self.keys_given or is_plain(keys[0]))


def _network(path: str) -> str:
    return path.partition(":")[0] if ":" in path else ""
