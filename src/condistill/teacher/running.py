"""Running a pipeline under watch: its own arguments, its own generators, nothing printed, nothing left behind."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from condistill.errors import UserError
from condistill.maths.draws import generator
from condistill.maths.randomise import Key
from condistill.teacher.blanks import filled_with
from condistill.teacher.failing import BY_PIPELINE, is_by_pipeline
from condistill.teacher.keys import key_arguments, parameters_of
from condistill.teacher.precision import as_around
from condistill.teacher.recording import EnoughRecorded, Mode, Recording, watched
from condistill.teacher.shadowing import shadowed
from condistill.teacher.state import same_state

STEPS = "num_inference_steps"


@dataclass(frozen=True)
class Runner:
    """How a pipeline is run.

    Attributes:
        pipeline: the pipeline.
        component: the denoiser's name.
        call: the pipeline's own further arguments.
        single: one key at a time.
        skip: calls of the denoiser before the one that is conditional.
        upstream: names of the networks whose output reaches the denoiser in every step; None while not known.
        blank: zeros in the shape of the denoiser's answer, once known.
        guess: answer in the likeliest shape while it is not known, without running the denoiser.
    """

    pipeline: Any
    component: str
    call: Mapping[str, Any] = field(default_factory=dict)
    single: bool = False
    skip: int = 0
    upstream: tuple[str, ...] | None = ()
    blank: Any = None
    guess: bool = False

    @property
    def network(self) -> nn.Module:
        """The denoiser."""
        return getattr(self.pipeline, self.component)

    def with_call(self, **more: Any) -> Runner:
        """The same with further arguments."""
        return replace(self, call={**self.call, **more})

    def first(self, keys: Sequence[Key], *, skip: int | None = None, alike: bool = False) -> Recording:
        """A recording that ends at the conditional call of the first step.

        Args:
            keys, skip: see `run`.
            alike: every key draws the same numbers, so that noise on a picture does not depend on its place.
        """
        drawn = [generator(0, "calibrate", 0) for _ in keys] if alike else None
        return self.run(keys, mode="stop", skip=self.skip if skip is None else skip, generators=drawn)

    def run(self, keys: Sequence[Key], *, mode: Mode, skip: int = 0, **options: Any) -> Recording:
        """The recording of one run. Global random state is not touched.

        Args:
            keys: n of them; one where the pipeline takes one at a time.
            mode, skip: see `recording.watched`.
            options: see `_run`.
        """
        try:
            return self._run(keys, mode=mode, skip=skip, **options)
        except Exception as error:
            is_answered = mode in ("zeros", "ones") or (mode == "stop" and skip > 0)
            if self.blank is None or not is_answered or not is_by_pipeline(error):
                raise
        # the pipeline may look into its denoiser (hooks, attention maps), which then has to have run
        return replace(self, blank=None)._run(keys, mode=mode, skip=skip, **options)

    def _run(
        self,
        keys: Sequence[Key],
        *,
        mode: Mode,
        skip: int,
        max_steps: int | None = None,
        generators: list[torch.Generator] | None = None,
        leave: bool = True,
    ) -> Recording:
        """The recording of one run.

        Args:
            keys, mode, skip: see `run`.
            max_steps, leave: see `recording.watched`.
            generators: one per key; drawn from a fixed seed if not given.
        """
        pipeline, parameters = self.pipeline, parameters_of(self.pipeline)
        arguments = {**self.call, **key_arguments(pipeline, keys, single=self.single)}
        arguments = _as_wanted(arguments, parameters, 0 if self.single else len(keys))
        if "generator" in parameters:
            drawn = generators or [generator(0, "calibrate", k) for k in range(len(keys))]
            arguments["generator"] = drawn[0] if self.single else drawn
            if "seed" in parameters:
                arguments["seed"] = None  # a seed of the pipeline's own would draw the same noise for every item
        watching = watched(
            self.network, samplers(pipeline), mode,
            others=self._others(mode), skip=skip, max_steps=max_steps, blank=self.blank,
            guess=self.guess, leave=leave,
        )  # fmt: skip
        with (
            _quiet(pipeline),
            same_state(self.network),
            as_around(self.network),
            _others_blank(self, mode),
            torch.random.fork_rng(devices=[]),
            torch.no_grad(),
        ):
            torch.manual_seed(generators[0].initial_seed() if generators and mode == "real" else 0)
            with watching as recording, suppress(EnoughRecorded):
                try:
                    recording.result = pipeline(**arguments)
                except Exception as error:
                    # some pipelines refuse to leave latents undecoded or forget to, but only after their loop is done
                    about = isinstance(error, UnboundLocalError) or "latent" in str(error)
                    is_done = recording.last is not None and arguments.get("output_type") == "latent" and about
                    if type(error) is Exception and not is_done:  # the tokenizers library's, of files that do not fit
                        name = type(pipeline).__name__
                        raise UserError(f"{name} cannot read the keys ({error}); its folder may be damaged") from error
                    if not is_done:
                        error.add_note(BY_PIPELINE)
                        raise
        return recording

    def _others(self, mode: Mode) -> dict[str, nn.Module]:
        parts = networks(self.pipeline)
        names = list(parts) if self.upstream is None else self.upstream
        return {name: parts[name] for name in names if parts[name] is not self.network}


def _as_wanted(arguments: Mapping[str, Any], parameters: Mapping[str, Any], n: int) -> dict[str, Any]:
    """With tuples for lists where a pipeline wants those, and n times a text that stands beside lists of n prompts; no
    text of the pipeline's own where its embedding is given."""
    texts = {name.removesuffix("_embeds") for name, value in arguments.items() if value is not None} - set(arguments)
    arguments = {**dict.fromkeys(texts & set(parameters)), **arguments}
    said = {name: str(one.annotation).lower() for name, one in parameters.items()}
    tuples = {name for name, annotation in said.items() if "tuple" in annotation and "list" not in annotation}
    lists = {name for name, annotation in said.items() if n and "list[str]" in annotation}
    made = {name: tuple(v) if name in tuples and isinstance(v, list) else v for name, v in arguments.items()}
    return {name: [v] * n if name in lists and isinstance(v, str) else v for name, v in made.items()}


def parts_of(pipeline: Any) -> dict[str, Any]:
    """The pipeline's registered parts by name; `components` leaves out what the constructor has a default for."""
    return {name: getattr(pipeline, name, None) for name in pipeline.config if not name.startswith("_")}


def samplers(pipeline: Any) -> dict[str, Any]:
    """The pipeline's schedulers by name."""
    return {name: part for name, part in parts_of(pipeline).items() if hasattr(part, "set_timesteps")}


def networks(pipeline: Any) -> dict[str, nn.Module]:
    """The pipeline's networks by name."""
    return {name: part for name, part in parts_of(pipeline).items() if isinstance(part, nn.Module)}


def experts(runner: Runner) -> dict[str, nn.Module]:
    """The networks that take turns with the denoiser in its loop, itself included: those of its class. None where the
    pipeline has several schedulers: then networks of one class are stages, each with a loop of its own."""
    if len({id(part) for part in samplers(runner.pipeline).values()}) > 1:
        return {}
    return {n: part for n, part in networks(runner.pipeline).items() if type(part) is type(runner.network)}


def exchanged(pipeline: Any, others: Mapping[str, nn.Module]) -> Any:
    """A copy of the pipeline with other networks under these names, also in the pipelines inside it.

    Everything else is shared but the schedulers, which have a state.
    """
    found, before = copy.copy(pipeline), networks(pipeline)
    found.register_modules(**others, **{name: copy.deepcopy(part) for name, part in samplers(pipeline).items()})
    for name, part in list(vars(pipeline).items()):
        if hasattr(part, "components") and hasattr(part, "register_modules"):
            same = {id(before[name]): other for name, other in others.items()}
            inner = {n: same[id(one)] for n, one in networks(part).items() if id(one) in same}
            vars(found)[name] = exchanged(part, inner) if inner else part
    return found


def uncompiled(pipeline: Any) -> Any:
    """The pipeline with the networks that torch.compile has wrapped as they were: they are watched, not sped up.

    Raises:
        UserError: weights are somewhere else until a network is called, so it can be neither copied nor cut; or a
            network answers with what it computed in an earlier step.
    """
    parts = networks(pipeline)
    for name, part in parts.items():
        if getattr(part, "is_cache_enabled", False):
            raise UserError(
                f"{name} reuses what it computed in earlier steps (enable_cache), so one call does not say what it "
                f"predicts; call pipe.{name}.disable_cache() before"
            )
        if any(weight.is_meta for weight in part.parameters()):
            raise UserError(
                f"the weights of {name} are offloaded; give a pipeline without enable_sequential_cpu_offload or "
                "device_map, for example pipe.to(device)"
            )
    own: dict[str, Any] = {name: part._orig_mod for name, part in parts.items() if hasattr(part, "_orig_mod")}
    for name, part in parts.items():
        if getattr(part, "_compiled_call_impl", None) is not None:
            own[name] = copy.copy(part)
            own[name]._compiled_call_impl = None
    return exchanged(pipeline, own) if own else pipeline


@contextmanager
def unheard() -> Iterator[None]:
    """diffusers and transformers log no warnings inside the block: example keys and sizes are not the user's."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    before = ours.get_verbosity(), theirs.get_verbosity()
    ours.set_verbosity(max(before[0], ours.ERROR))
    theirs.set_verbosity(max(before[1], theirs.ERROR))
    try:
        yield
    finally:
        ours.set_verbosity(before[0])
        theirs.set_verbosity(before[1])


@contextmanager
def _quiet(pipeline: Any) -> Iterator[None]:
    inner = [part for part in vars(pipeline).values() if hasattr(part, "set_progress_bar_config")]
    before = [(one, getattr(one, "_progress_bar_config", None)) for one in (pipeline, *inner)]
    for one, _ in before:
        one.set_progress_bar_config(disable=True)
    try:
        yield
    finally:
        for one, bar in before:
            if bar is None:
                vars(one).pop("_progress_bar_config", None)
            else:
                one._progress_bar_config = bar


@contextmanager
def _others_blank(runner: Runner, mode: Mode) -> Iterator[None]:
    """Other experts answer with zeros while nothing real is wanted."""
    others = [part for part in experts(runner).values() if part is not runner.network and mode != "real"]
    with ExitStack() as stack:
        for other in others:
            stack.enter_context(shadowed(other, "forward", _blank(other)))
        yield


def _blank(network: nn.Module) -> Any:
    real, known = network.forward, []

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not known:
            known.append(filled_with(real(*args, **kwargs), 0.0))
        return known[0]

    return forward
