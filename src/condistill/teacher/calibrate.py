"""Calibration: what a pipeline's denoiser takes, established by watching it and then verified.

Short runs, all but one network pass of them answered with zeros:

1. keys (a, b), a few steps: which arguments hold x_t, which the time and by which affine map, what stands upstream.
2. keys (a, c): a row that changed belongs to the key; only rows of the second item may have changed.
3. key (a) alone, and both without guidance: what has rows per item, and that one item is encoded as in a batch.

A pipeline that takes one item at a time is watched with one key at a time instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from condistill.errors import UserError
from condistill.maths.randomise import Key
from condistill.teacher.calibration import Calibration
from condistill.teacher.conditions import NoKey, with_conditions, without_key
from condistill.teacher.failing import NotRun, is_by_pipeline, not_run
from condistill.teacher.held import with_held
from condistill.teacher.joint import shape_of, with_beside
from condistill.teacher.keys import PROMPTS, SIZES, parameters_of, switches
from condistill.teacher.leaves import flatten, lists_by_item, lists_like_x_t
from condistill.teacher.noisy import check_given, find_noisy, same
from condistill.teacher.oracle import Steps, process_of
from condistill.teacher.padding import check_together, with_equal
from condistill.teacher.reaching import not_called, reached, two
from condistill.teacher.recording import Recording
from condistill.teacher.running import STEPS, Runner, experts, networks, samplers, unheard
from condistill.teacher.steps import calls_at, check_one_network, check_one_way

NUM_STEPS, WATCHED_STEPS, RANGE_STEPS = 12, 12, 50
EXCHANGING = ("pag_scale", "sag_scale")  # guidance that exchanges the denoiser's attention while it runs
Keys = tuple[Key, Key, Key]


@unheard()
def calibrate(
    pipeline: Any,
    component: str,
    call: Mapping[str, Any],
    *,
    keys: Sequence[Key] | None = None,
    small_first: bool = False,
) -> Calibration:
    """The verified way to call the denoiser `component` inside `pipeline`.

    Args:
        call: the pipeline's own arguments that every call needs.
        keys: three different keys to calibrate with, where examples would not do.
        small_first: prefer a short video and small pictures to a large size that the pipeline takes by itself.

    Raises:
        UserError: something could not be established; the message says what and what to pass.
    """
    runner = Runner(pipeline, component, {**_few_steps(pipeline, component), **call}, upstream=None)
    for part in networks(pipeline).values():
        part.eval()  # dropout in what reads the texts makes two readings of one key differ
    given = [tuple(keys)] if keys else None
    try:
        runner, some, filled = reached(runner, given, small_first=small_first)
    except NotRun as error:
        if STEPS in call or STEPS not in runner.call or STEPS not in str(error):
            raise
        # something else has to be as long as there are steps (a guidance scale for each), and fits the usual number
        own = {name: value for name, value in runner.call.items() if name != STEPS}
        runner, some, filled = reached(replace(runner, call=own), given, small_first=small_first)
    some = _same_negative(some)
    try:
        found, switched = _first_verified(runner, _with_third(runner, some))
    except Exception as error:
        if is_by_pipeline(error):
            raise not_run(runner.pipeline, runner.component, error) from error
        raise
    return replace(
        found,
        given=dict(call),
        keys=some,
        keys_given=keys is not None,
        placeholders=(*filled, *switched),
        is_small=small_first and bool(set(SIZES) & set(filled)),
        time_range=_time_range(found.runner, some),
    )


def _with_third(runner: Runner, keys: Keys) -> Keys:
    """The keys, where only two texts were given with a third of our own, if the pipeline takes it.

    With the first one again nothing is as long as it was beside the second, and lengths cannot be told from contents.
    """
    a, b, c = keys
    if not isinstance(a, str) or c != a:
        return keys
    third = next(text for text in PROMPTS if text not in (a, b))
    try:
        runner.first([third] if runner.single else [a, third])
    except Exception:  # a pipeline that knows certain texts only
        return keys
    return a, b, third


def _same_negative(keys: Keys) -> Keys:
    """The keys with the first one's negative parts, so that two of them differ in the conditional rows alone."""
    a, b, c = keys
    if not isinstance(a, Mapping):
        return keys
    negative = {name: value for name, value in a.items() if name.startswith("negative_")}
    return a, {**b, **negative}, {**c, **negative}  # type: ignore[dict-item]


def _first_verified(runner: Runner, keys: Keys) -> tuple[Calibration, dict[str, bool]]:
    """The calibration, and the pipeline's own switches that had to be off for it.

    A pipeline may take two keys and then mix up their rows, or not have a picture for each; it may rewrite prompts or
    keep what it computed in an earlier step unless it is told not to.

    Raises:
        UserError: the reason that two keys gave, or one alone where the pipeline did not tell the two apart.
    """
    try:
        return _calibrated(runner, keys), {}
    except Exception as error:
        if not isinstance(error, UserError) and not is_by_pipeline(error):
            raise
        reason = error  # a pipeline may take two texts for one pair, and stumble over a single one
    off = switches(runner.pipeline, runner.call)
    for switched in ({}, off) if off else ({},):
        for single in (False, True):
            if (runner.single and not single) or (not switched and single == runner.single):
                continue
            try:
                return _calibrated(replace(runner.with_call(**switched), single=single), keys), switched
            except UserError as error:
                is_vague = isinstance(reason, NoKey) or (isinstance(reason, NotRun) and not isinstance(error, NotRun))
                reason = error if is_vague else reason
            except Exception:  # then the reason is the one that two keys gave
                continue
    raise reason


def _calibrated(runner: Runner, keys: Keys) -> Calibration:
    whole = _whole(runner, keys)
    check_one_way(whole, runner)
    check_one_network(whole, runner)
    runner = replace(runner, upstream=_upstream(whole), blank=whole.blank)
    whole = whole.only(runner.upstream or ())
    runner = _conditional(runner, whole, keys)
    found = with_conditions(_structure(runner, whole, keys), keys)
    check_together(found, keys)
    return with_equal(found, keys)


def _few_steps(pipeline: Any, component: str) -> dict[str, Any]:
    """NUM_STEPS for the loop itself, two for other stages of the pipeline; no guidance that changes the denoiser."""
    names = parameters_of(pipeline)
    own = (STEPS, f"{component}_{STEPS}")
    steps = {name: NUM_STEPS if name in own else 2 for name in names if name.endswith(STEPS)}
    return steps | {name: 0.0 for name in EXCHANGING if name in names}


def _whole(runner: Runner, keys: Keys) -> Recording:
    """A recording of a few steps, without the denoiser itself if its answer's shape can be guessed.

    Raises:
        NotRun: the denoiser does not accept what its pipeline gives it.
    """
    errors: list[Exception] = []
    for guess in (True, False):
        try:
            return replace(runner, guess=guess).run(two(runner, keys), mode="zeros", max_steps=WATCHED_STEPS)
        except UserError:
            raise
        except Exception as error:  # whatever a network raises
            errors.append(error)
    raise not_run(runner.pipeline, runner.component, errors[-1])


def _upstream(whole: Recording) -> tuple[str, ...]:
    """Networks that feed the denoiser in the last step as well, so not only before the loop."""
    return tuple(whole.upstream[-1]) if whole.calls and whole.calls[-1].step > 0 else ()


def _conditional(runner: Runner, whole: Recording, keys: Keys) -> Runner:
    """The runner with `skip` at the first call of a step that depends on the key.

    Raises:
        NoKey: none does.
    """
    if not whole.calls or not whole.samples:
        raise not_called(runner)
    in_step = sum(call.step == whole.calls[0].step for call in whole.calls)
    for skip in range(in_step):
        a = runner.first(two(runner, keys), skip=skip)
        b = runner.first(two(runner, keys, 2), skip=skip)
        if len(a.calls) <= skip or len(b.calls) <= skip:
            break
        before, after = a.leaves(skip), b.leaves(skip)
        if set(before) != set(after) or any(not same(value, after[path]) for path, value in before.items()):
            return replace(runner, skip=skip)
    raise NoKey(without_key(runner))


def _structure(runner: Runner, whole: Recording, keys: Keys) -> Calibration:
    """x_t, the time and what is computed upstream."""
    name, n = type(runner.network).__name__, 1 if runner.single else 2
    pair = runner.first(two(runner, keys))
    nested = pair.nested(runner.skip)
    if runner.single:
        some = {part: lists_like_x_t(value, whole.samples[0]) for part, value in nested.items()}
    else:
        alone = runner.first([keys[0]]).nested(runner.skip)
        some = {part: lists_by_item(value, alone[part]) for part, value in nested.items() if part in alone}
    lists: frozenset[str] = frozenset().union(*(_prefixed(paths, part) for part, paths in some.items()))
    leaves = pair.leaves(runner.skip, lists)
    links = _links(pair, runner.skip)
    view, noisy = find_noisy(leaves, whole.samples[0], n, name)
    beside, noisy = with_beside(whole, leaves, noisy, n, name)
    calls, at = calls_at(whole, runner.skip, lists, next(iter(noisy)))
    check_given(noisy, calls, name)
    noisy = with_held(noisy, view, whole, runner, two(runner, keys), n)
    runner = replace(runner, blank=whole.blank)
    process, times = process_of(runner, two(runner, keys), view, noisy, Steps(calls, at, {*noisy, *links}), whole)
    found = Calibration(
        runner=runner,
        templates=nested,
        lists=lists,
        view=view,
        noisy=noisy,
        times=times,
        links=links,
        latent_shape=shape_of(noisy),
        beside=beside,
        scheduler=_sampler_name(runner.pipeline, whole.stepped[0]),
        observed=process,
    )
    found.x0(whole, n)
    return found


def _prefixed(paths: frozenset[str], part: str) -> frozenset[str]:
    return frozenset(f"{part}:{path}" if part else path for path in paths)


def _links(recording: Recording, index: int) -> dict[str, tuple[str, str]]:
    """The denoiser's arguments that are outputs of upstream networks."""
    found: dict[str, tuple[str, str]] = {}
    given = {p: v for p, v in flatten(recording.calls[index].arguments).items() if isinstance(v, Tensor)}
    for name, call in recording.upstream[index].items():
        answers = {id(value): path for path, value in flatten({"out": call.output}).items()}
        found |= {path: (name, answers[id(value)]) for path, value in given.items() if id(value) in answers}
    return found


def _sampler_name(pipeline: Any, stepped: Any) -> str:
    known = samplers(pipeline)
    for name, part in known.items():
        if part is stepped:
            return name
    # a copy that the pipeline made for itself
    return next((name for name, part in known.items() if type(part) is type(stepped)), next(iter(known)))


def _time_range(runner: Runner, keys: Keys) -> tuple[float, float] | None:
    """Between which times the denoiser is called; None if there is no other to take turns with."""
    twins = experts(runner)
    if all(part is runner.network for part in twins.values()):
        return None
    seen: dict[str, list[float]] = {}
    for name in twins:
        many = {STEPS: RANGE_STEPS} if STEPS in runner.call else {}
        other = replace(runner, component=name, blank=None, upstream=()).with_call(**many)
        whole = other.run(two(runner, keys), mode="zeros", max_steps=2 * RANGE_STEPS)
        steps = {call.step for call in whole.calls}
        seen[name] = [t for k, t in enumerate(whole.times) if k in steps]
    own, others = seen[runner.component], [t for name in twins if name != runner.component for t in seen[name]]
    if not own or not others:
        return None
    below = [t for t in others if t < min(own)]
    above = [t for t in others if t > max(own)]
    return (min(own) if below else 0.0, max(own) if above else float("inf")) if below or above else None
