"""Recording: run a pipeline with its denoiser and schedulers watched, and note what they are called with.

Nothing of the pipeline is replaced for good: `forward` is shadowed on the instances, `step` on the schedulers' classes
(pipelines copy their schedulers), and both are restored, also when the pipeline raises.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor, nn

from condistill.teacher.blanks import filled_with, kept, likely_answer
from condistill.teacher.leaves import Leaves, flatten
from condistill.teacher.parts import Beside, Parts, answer_of, stepped, time_of
from condistill.teacher.precision import answers_as_asked
from condistill.teacher.sections import Sections
from condistill.teacher.shadowing import bound_arguments, shadowed
from condistill.teacher.state import State, state_of, switched

Mode = Literal["real", "zeros", "ones", "stop"]


class EnoughRecorded(BaseException):
    """Raised by a stub to leave the pipeline early. Not an Exception: no pipeline may swallow it. Never leaves here."""


@dataclass
class Called:
    """One call of a module.

    Attributes:
        step: number of scheduler steps taken before it.
        arguments: by parameter name, nested.
        output: what it answered (None for the denoiser, whose answer is not kept).
    """

    step: int
    arguments: dict[str, Any]
    output: Any = None


@dataclass
class Recording:
    """What one run of a pipeline did.

    Attributes:
        calls: the denoiser's calls.
        upstream: per call, the calls of other networks whose output it was given: name -> call.
        times: the time of each scheduler step.
        samples: the scheduler's sample before each step.
        stepped: the scheduler of each step.
        last: the sample after the last step of the scheduler that follows the denoiser's calls.
        result: what the pipeline returned (None if it was left early).
        blank: the denoiser's first answer, as zeros.
        beside: what a second sampler did that stepped after the first without another call of the denoiser.
        answer: what the first step was given as the denoiser's answer; None if it was a step of a kind of its own.
        switched: a switch of the denoiser that is another at a later call than at the first; None if none is.
        back: a time that the loop went back to at another size; None if it did not.
    """

    calls: list[Called] = field(default_factory=list)
    upstream: list[dict[str, Called]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    samples: list[Tensor] = field(default_factory=list)
    stepped: list[Any] = field(default_factory=list)
    last: Tensor | None = None
    result: Any = None
    blank: Any = None
    beside: Beside | None = None
    answer: Tensor | None = None
    switched: str | None = None
    back: float | None = None

    def only(self, names: Collection[str]) -> Recording:
        """The same without the upstream calls of other networks than `names`."""
        kept = [{name: call for name, call in calls.items() if name in names} for calls in self.upstream]
        return replace(self, upstream=kept)

    def nested(self, index: int) -> dict[str, Any]:
        """The arguments of call `index` and of what stands upstream of it, by network ("" is the denoiser)."""
        return {"": self.calls[index].arguments} | {n: call.arguments for n, call in self.upstream[index].items()}

    def leaves(self, index: int, lists: frozenset[str] = frozenset()) -> Leaves:
        """The arguments of call `index` and of what stands upstream of it, as one level of paths ("name:path")."""
        found = flatten(self.calls[index].arguments, lists=lists)
        for name, call in self.upstream[index].items():
            found.update(flatten(call.arguments, f"{name}:", lists))
        return found


class Watch:
    """The stubs of one run.

    Attributes:
        recording: fills while the run goes on.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        skip: int = 0,
        max_steps: int | None = None,
        blank: Any = None,
        guess: bool = False,
        is_sole: bool = False,
        leave: bool = True,
    ):
        self._is_sole, self._leave, self._sections = is_sole, leave, Sections()
        self.recording, self._guess = Recording(blank=blank), guess
        self._mode, self._skip, self._max_steps = mode, skip, max_steps
        self._pending: dict[str, Called] = {}
        self._called_since_step, self._parts = False, Parts()
        self._blanks: dict[Any, Any] = {}
        self._state: State = {}
        self._given: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def given(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A hook before all others of a denoiser that casts what its pipeline gives it."""
        self._given = args, kwargs

    def forward(self, network: nn.Module) -> Any:
        """A stand-in for the denoiser's forward."""
        real, seen = network.forward, self.recording

        @functools.wraps(real)
        def forward(*args: Any, **kwargs: Any) -> Any:
            self._called_since_step = True
            (own, named), self._given = self._given or (args, kwargs), None
            # keeping every call of a long real run would keep its tensors; the first ones are enough
            if self._mode != "real" or len(seen.calls) <= self._skip:
                call = Called(len(seen.times), kept(bound_arguments(network, own, named)))
                seen.calls.append(call)
                seen.upstream.append(_feeding(call, self._pending))
                self._note_state(network)
            if self._mode == "stop" and len(seen.calls) > self._skip:
                raise EnoughRecorded
            if self._mode == "real":
                return real(*args, **kwargs)
            return self._blank(network, seen.calls[-1].arguments, lambda: real(*args, **kwargs))

        return forward

    def _note_state(self, network: nn.Module) -> None:
        if self._mode == "zeros" and self.recording.switched is None:
            state = state_of(network)
            self._state = self._state or state
            self.recording.switched = switched(self._state, state)

    def _blank(self, network: nn.Module, arguments: Mapping[str, Any], real: Callable[[], Any]) -> Any:
        """Zeros to answer with; a loop may go on at another size (more frames), so one for every shape of the input."""
        shape = next((v.shape for v in arguments.values() if isinstance(v, Tensor) and v.ndim >= 3), None)
        if not self._blanks and self.recording.blank is not None:
            self._blanks[shape] = self.recording.blank
        if shape not in self._blanks:
            guess = likely_answer(network, arguments) if self._guess else None
            self._blanks[shape] = filled_with(real(), 0.0) if guess is None else guess
        if self.recording.blank is None:
            self.recording.blank = self._blanks[shape]
        return filled_with(self._blanks[shape], 1.0) if self._mode == "ones" else self._blanks[shape]

    def upstream(self, name: str, module: nn.Module) -> Any:
        """A stand-in for the forward of another network: it answers, and its last call of a step is remembered."""
        real = module.forward

        @functools.wraps(real)
        def forward(*args: Any, **kwargs: Any) -> Any:
            arguments = kept(bound_arguments(module, args, kwargs))
            out = real(*args, **kwargs)
            if self._mode != "real" or len(self.recording.calls) <= self._skip:
                self._pending[name] = Called(len(self.recording.times), arguments, kept(out))
            return out

        return forward

    def step(self, cls: type) -> Any:
        """A stand-in for a scheduler class's step."""
        real, seen = cls.step, self.recording  # type: ignore[attr-defined]

        # pipelines read the signature to see whether eta and a generator are wanted
        @functools.wraps(real)
        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(real).bind(scheduler, *args, **kwargs).arguments
            out = real(scheduler, *args, **kwargs)
            # with one sampler its last step gives x0, also where another denoiser takes the last turns
            is_sole = self._mode == "real" and self._is_sole
            is_known = any(scheduler is known for known in seen.stepped)
            is_part = not self._called_since_step and self._parts.continues(scheduler, given)
            if self._is_over(given):
                return out
            if seen.stepped and not self._called_since_step and not is_known and not is_part:
                self._step_beside(scheduler, given, out)
            elif is_sole or self._called_since_step or is_known or is_part:
                self._after_step(scheduler, given, out, is_part=is_part)
            return out

        return step

    def _is_over(self, given: Mapping[str, Any]) -> bool:
        """Whether the step is of another section of what is sampled: the first one is what is recorded."""
        if not self._sections.is_over(time_of(given), called=self._called_since_step):
            return False
        if self._leave:
            raise EnoughRecorded
        return True

    def _step_beside(self, scheduler: Any, given: Mapping[str, Any], out: Any) -> None:
        seen = self.recording
        if seen.beside is None:
            seen.beside = Beside(scheduler, given["sample"].detach().clone())
        if seen.beside.scheduler is scheduler:
            seen.beside.times.append(time_of(given))
            seen.beside.last = stepped(out)

    def _after_step(self, scheduler: Any, given: Mapping[str, Any], out: Any, *, is_part: bool) -> None:
        seen = self.recording
        self._called_since_step = False
        self._pending.clear()
        if not is_part:
            self._parts.begin()
            seen.times.append(time_of(given))
            seen.back = self._sections.step(seen.times[-1], tuple(given["sample"].shape))
        self._parts.add(scheduler, given, stepped(out))
        if self._mode != "real":
            seen.samples[len(seen.times) - 1 :] = [self._parts.sample]
        if not seen.stepped:
            seen.answer = answer_of(given)
        if not any(scheduler is known for known in seen.stepped):
            seen.stepped.append(scheduler)
        after = self._parts.after
        seen.last = seen.last if after is None else after
        if self._max_steps is not None and len(seen.times) >= self._max_steps and self._parts.is_whole:
            raise EnoughRecorded


@contextmanager
def watched(
    network: nn.Module,
    schedulers: Mapping[str, Any],
    mode: Mode,
    *,
    others: Mapping[str, nn.Module],
    skip: int = 0,
    max_steps: int | None = None,
    blank: Any = None,
    guess: bool = False,
    leave: bool = True,
) -> Iterator[Recording]:
    """Yields the recording that fills while the block runs the pipeline.

    Args:
        network: the denoiser.
        schedulers: the pipeline's; the `step` of their classes is watched.
        mode: "real" lets the network answer; "zeros" answers with zeros shaped as its first real answer, "ones" with
            ones; "stop" leaves the pipeline at the call after `skip` others.
        others: further networks of the pipeline; those whose output reaches the denoiser are recorded with it.
        max_steps: leave the pipeline after so many scheduler steps.
        blank: zeros to answer with, from an earlier recording.
        guess: answer with zeros in the likeliest shape, so that the network need not run at all.
        leave: leave the pipeline after the first section of a video that it makes section by section.
    """
    is_sole = len(schedulers) == 1
    watch = Watch(mode, skip=skip, max_steps=max_steps, blank=blank, guess=guess, is_sole=is_sole, leave=leave)
    with ExitStack() as stack:
        stack.enter_context(shadowed(network, "forward", watch.forward(network)))
        if answers_as_asked(network):
            stack.enter_context(network.register_forward_pre_hook(watch.given, with_kwargs=True, prepend=True))
        for name, module in others.items():
            stack.enter_context(shadowed(module, "forward", watch.upstream(name, module)))
        for cls in {type(scheduler) for scheduler in schedulers.values()}:
            stack.enter_context(shadowed(cls, "step", watch.step(cls)))
        yield watch.recording


def _feeding(call: Called, pending: Mapping[str, Called]) -> dict[str, Called]:
    """Those of the pending calls whose output is among the arguments of `call`."""
    given = {id(value) for value in flatten(call.arguments).values() if isinstance(value, Tensor)}
    return {
        name: other
        for name, other in pending.items()
        if any(id(value) in given for value in flatten({"out": other.output}).values())
    }
