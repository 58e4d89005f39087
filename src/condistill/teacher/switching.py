"""Sampling with another condition from some step on: by the pipeline itself, the condition exchanged in its loop.

>>> switched = Switched(teacher, "a red fox", seed=3, call={"num_inference_steps": 25})  # doctest: +SKIP
>>> switched.sample("a house", after=10).images.shape                           # doctest: +SKIP
(1, 512, 512, 3)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from condistill.errors import UserError
from condistill.maths.draws import generator
from condistill.maths.randomise import Key
from condistill.teacher.leaves import flatten, rebuild
from condistill.teacher.sampling import Samples
from condistill.teacher.shadowing import bound_arguments, shadowed

if TYPE_CHECKING:
    from condistill.teacher.teacher import Teacher


class Switched:
    """A teacher that is told another key in the middle of sampling.

    Args:
        teacher: a Teacher.
        then: the key that it is told from some step on.
        seed: of all samples; some conditions have noise of their own.
        call: the pipeline's own arguments.

    Attributes:
        times: the time of each step, as the teacher's noise path counts it.

    Raises:
        UserError: the condition reaches the denoiser through another network too, or several calls make up a step in
            another way at every step.
    """

    def __init__(self, teacher: Teacher, then: Key, *, seed: int = 0, call: Mapping[str, Any] | None = None):
        self._seed, self._call = seed, dict(call or {})
        self._teacher = teacher = teacher.with_call(call, [then])
        found = teacher.calibration
        if found.links:
            names = ", ".join(sorted({name for name, _ in found.links.values()}))
            raise UserError(f"the condition reaches the denoiser through {names} too, where it cannot be exchanged")
        pictures = {name: found.call[name] for name in found.placeholders if name not in self._call}
        runner = replace(found.runner, call={**pictures, **self._call}, skip=0, blank=None)
        recorded = runner.run([then], mode="zeros", generators=[generator(seed, "sample", 0)])
        self.times = list(recorded.times)
        first = [called for called in recorded.calls if called.step == 0]
        if len(recorded.calls) != len(first) * len(self.times):
            raise UserError("the steps of this pipeline call its denoiser unequally often; no key can be exchanged")
        if found.observed is not None:
            calls = range(0, len(recorded.calls), len(first))
            self.times = [found.observed.level(recorded.leaves(k)) for k in calls]
        # all but x_t and t: what depends on the length of a text (a mask, its positions) goes with it
        own = {*found.noisy, *found.times}
        self._leaves = [
            {path: leaf for path, leaf in flatten(called.arguments, lists=found.lists).items() if path not in own}
            for called in first
        ]

    def sample(self, first: Key, *, after: int, output: Literal["latent", "np", "both"] = "both") -> Samples:
        """The sample of one run that is told `first` for `after` steps and the other key from there on.

        Args:
            first: the key at the beginning.
            after: 0 is the other key alone, `len(times)` the first alone.
            output: "latent" skips decoding.

        Raises:
            UserError: the denoiser does not take the other key's arguments with the first one's sample.
        """
        teacher, found = self._teacher, self._teacher.calibration
        network, calls = teacher.network, 0
        real = network.forward

        @functools.wraps(real)
        def forward(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            step, place = divmod(calls, len(self._leaves))
            calls += 1
            if step < after:
                return real(*args, **kwargs)
            arguments = bound_arguments(network, args, kwargs)
            leaves = flatten(arguments, lists=found.lists)
            leaves |= {path: leaf for path, leaf in self._leaves[place].items() if path in leaves}
            return real(**rebuild(arguments, leaves, lists=found.lists))

        with shadowed(network, "forward", forward):
            try:
                return teacher.sample([first], seed=[self._seed], call=self._call, output=output)
            except (RuntimeError, ValueError, IndexError) as error:
                if isinstance(error, UserError) or not 0 < after < len(self.times):
                    raise
                raise UserError(f"this pipeline cannot be told another key in its loop ({error})") from error
