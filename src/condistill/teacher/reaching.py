"""Reaching the denoiser: the keys and arguments with which a pipeline gets there, at a size that is soon computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor

from condistill.errors import UserError
from condistill.maths.randomise import Key
from condistill.teacher.failing import not_run
from condistill.teacher.keys import SIZES, example_keys, fillings, small_sizes, switches, with_pictures
from condistill.teacher.recording import Recording
from condistill.teacher.running import Runner, networks
from condistill.teacher.shadowing import shadowed

LARGE = 2**14  # places of x_t: a picture of 1024 pixels a side has no more in the usual latent spaces
Keys = tuple[Key, Key, Key]


def reached(
    runner: Runner, given: Sequence[tuple[Key, ...]] | None, *, small_first: bool
) -> tuple[Runner, Keys, tuple[str, ...]]:
    """A runner that reaches the denoiser, the keys that it does it with, and the arguments filled with examples.

    Tried in turn: two keys and one at a time, as the call stands, with example pictures, and at smaller sizes.

    Args:
        given: keys to do it with, where examples would not do.
        small_first: prefer a short video and small pictures to a large size that the pipeline takes by itself.

    Raises:
        NotRun: nothing of it works.
    """
    errors: list[Exception] = []
    for keys in given or example_keys(runner.pipeline, runner.network):
        own = keys[0] if isinstance(keys[0], Mapping) else {}
        said: dict[tuple[Any, ...], list[str]] = {}
        known = {**runner.call, **own}
        ours = bool(own) and not given
        for more in fillings(runner.pipeline, runner.network, known, small_first=small_first, ours=ours):
            for single in (False, True):
                way = (single, *(name for name in more if name not in SIZES))
                # what was said at several small sizes is not about the size, and the pipeline's own may be large
                if not set(SIZES) & set(more) and len(said.get(way, ())) > 2 and len(set(said[way])) == 1:
                    continue
                tried = replace(runner.with_call(**more), single=single)
                try:
                    with _writing(runner.pipeline) as written:
                        recording = tried.first(two(tried, keys), skip=0)  # type: ignore[arg-type]
                except UserError:
                    raise
                except Exception as error:  # whatever a pipeline raises on arguments that it does not like
                    errors.append(error)
                    said.setdefault(way, []).append(str(error))
                    continue
                if not recording.calls:
                    raise not_called(runner)
                if written:
                    tried, more = _literal(tried, keys, more)
                if small_first and _num_positions(recording) > LARGE:
                    tried, more = _smaller(tried, keys, more)
                return tried, keys, tuple(more)  # type: ignore[return-value]
    raise not_run(runner.pipeline, runner.component, errors[0])


def not_called(runner: Runner) -> UserError:
    """The error for a pipeline whose loop does not call what was taken for its denoiser."""
    return UserError(
        f"{type(runner.pipeline).__name__} did not call {runner.component} in a sampling loop with a scheduler; choose "
        f"with component= out of: {', '.join(networks(runner.pipeline))}"
    )


def two(runner: Runner, keys: Sequence[Key], second: int = 1) -> list[Key]:
    """Two keys, or one where the pipeline takes one at a time."""
    return [keys[second - 1]] if runner.single else [keys[0], keys[second]]


def _num_positions(recording: Recording) -> int:
    """Places, pixels or tokens, of the largest argument of the first call."""
    given = [one for one in recording.leaves(0).values() if isinstance(one, Tensor) and one.is_floating_point()]
    return max(
        (one.shape[1] if one.ndim == 3 else math.prod(one.shape[2:]) for one in given if one.ndim > 2), default=0
    )


@contextmanager
def _writing(pipeline: Any) -> Iterator[list[str]]:
    """Yields a list of the networks that write text (or tokens) inside the block."""
    found: list[str] = []

    def watched(name: str, real: Any) -> Any:
        def generate(*args: Any, **kwargs: Any) -> Any:
            found.append(name)
            return real(*args, **kwargs)

        return generate

    with ExitStack() as stack:
        for name, part in networks(pipeline).items():
            if hasattr(part, "generate"):
                stack.enter_context(shadowed(part, "generate", watched(name, part.generate)))
        yield found


def _literal(runner: Runner, keys: Sequence[Key], more: Mapping[str, Any]) -> tuple[Runner, dict[str, Any]]:
    """The runner with that switch off by which its pipeline rewrites prompts, if it has one; else as it was.

    What a language model makes of a prompt depends on the prompts beside it, and takes its time.
    """
    for name, no in switches(runner.pipeline, runner.call).items():
        tried = runner.with_call(**{name: no})
        try:
            with _writing(runner.pipeline) as written:
                recording = tried.first(two(tried, keys), skip=0)
        except Exception:  # a pipeline that cannot do without
            continue
        if recording.calls and not written:
            return tried, {**more, name: no}
    return runner, dict(more)


def _smaller(runner: Runner, keys: Sequence[Key], more: Mapping[str, Any]) -> tuple[Runner, dict[str, Any]]:
    """The runner at a small size and what was filled in for it, if the pipeline takes one; else as it was."""
    for size in small_sizes(runner.pipeline, runner.network, runner.call):
        filled = {**with_pictures(more, size), **size}
        tried = runner.with_call(**filled)
        try:
            recording = tried.first(two(tried, keys), skip=0)
        except Exception:  # a pipeline that does not take this size
            continue
        if recording.calls and _num_positions(recording) <= LARGE:
            return tried, filled
    return runner, dict(more)
