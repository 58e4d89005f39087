"""Comparing: our loop and the plain one, three students at once and one by one, D ours and prompt by prompt."""

from __future__ import annotations

import datetime
import functools
import statistics
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from condistill.bench import machine
from condistill.bench.clock import Clock, Taken, ratio, taken
from condistill.bench.plain import Given, PlainLoop
from condistill.bench.setting import Setting, setting, watched
from condistill.bench.sizes import SIZES, Size
from condistill.bench.stepping import Stepping
from condistill.errors import UserError, brief, unknown_name
from condistill.generate import generate
from condistill.train.log import Log
from condistill.versions import versions

NUM_SAMPLED = 32
Loops = dict[str, Callable[[], Any]]


def bench(
    size: str = "world",
    *,
    tiny: bool = False,
    steps: int = 5,
    repeats: int = 5,
    batch: int | None = None,
    compiled: bool = False,
) -> dict[str, Any]:
    """Everything that is measured of one size, as plain numbers.

    Args:
        size: a name in SIZES.
        tiny: the same networks with few channels, on any device: tries the bench, says nothing of the size.
        steps: training steps in a block; blocks of both loops take turns.
        repeats: blocks of each loop.
        batch: samples a step; the size's own where not given.
        compiled: our training compiled as well.

    Raises:
        UserError: unknown size, or one that wants a GPU where there is none.
    """
    chosen, device = chosen_size(size, tiny=tiny)
    with tempfile.TemporaryDirectory() as folder:
        found = setting(chosen, Path(folder), tiny=tiny, device=device, batch=batch)
        peaks = machine.peaks(device)
        return {
            **about(found, size, tiny), "steps": steps, "repeats": repeats, "peak_flops_per_second": peaks,
            "training": _training(found, steps, repeats, peaks, variants(chosen, compiled=compiled)),
            "three_students": _three(found, steps, repeats),
            "making_d": _sampling(found, repeats, {"num_inference_steps": 2} if tiny else {}),
        }  # fmt: skip


def chosen_size(name: str, *, tiny: bool) -> tuple[Size, torch.device]:
    """A size, and where it is measured.

    Raises:
        UserError: unknown, or it wants a GPU where there is none.
    """
    if name not in SIZES:
        raise unknown_name("size", name, SIZES)
    chosen = SIZES[name]
    on_gpu = torch.cuda.is_available() and chosen.needs_gpu
    if chosen.needs_gpu and not (tiny or on_gpu):
        raise UserError(f"got size {name}, which wants a GPU, and there is none; use --tiny to try it, or --size world")
    return chosen, torch.device("cuda" if on_gpu else "cpu")


def about(found: Setting, size: str, tiny: bool) -> dict[str, Any]:
    """What every result says of itself."""
    return {
        "size": size, "tiny": tiny, "batch": found.options.batch, "date": datetime.date.today().isoformat(),
        "machine": machine.describe(found.device), "versions": versions(),
    }  # fmt: skip


def variants(size: Size, *, compiled: bool) -> dict[str, Mapping[str, Any]]:
    """Name -> what our training is told otherwise than the size's options: nothing, its variants, and compiled."""
    found: dict[str, Mapping[str, Any]] = {"ours": {}, **size.variants}
    last = list(found)[-1]
    return {**found, **({f"{last} compiled": {**found[last], "compile": True}} if compiled else {})}


def _training(
    found: Setting, steps: int, repeats: int, peaks: dict[str, float], told: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    student, silent = found.student(found.size.students[0]), Clock(found.device)
    runs = {name: found.run([student], name, steps, **changes) for name, changes in told.items()}
    turns = Turns(found.plain_loop(student, silent), runs, found, steps)
    for work in turns.loops().values():  # these steps warm up
        work()
    whole = alternated(turns.loops, repeats, found.device)
    kept: dict[str, Any] = {}
    for name in whole:
        clock = turns.plain.clock = Clock(found.device)
        with watched(clock) if name != "plain" else nullcontext():
            spent = taken(turns.loops()[name], found.device)
        turns.plain.clock = silent
        kept[name] = _rates(whole[name], steps * found.options.batch)
        kept[name] |= {
            "parts": clock.shares(spent.seconds if found.device.type == "cuda" else spent.processor_seconds),
            "peak_mib": machine.peak_mib(turns.loops()[name], found.device),
        }
    work = turns.counted()
    for name, about_it in kept.items():
        # every one of ours computes the same; what compiled code does cannot be counted
        about_it |= _work(work["plain" if name == "plain" else "ours"] / (steps * found.options.batch), about_it, peaks)
        if name != "plain":
            about_it |= {"ratio": _ratios(whole, "plain", name), "options": dict(told[name])}
            about_it |= {"difference_of_losses": turns.difference(name)}
    for run in runs.values():
        run.end()
    return kept


class Turns:
    """Blocks of steps of the plain loop and of runs of ours, each going on where its own last block ended."""

    def __init__(self, plain: PlainLoop, runs: Mapping[str, Stepping], found: Setting, steps: int):
        self.plain, self.runs, self.found, self.steps = plain, runs, found, steps
        self.losses: list[float] = []  # of the plain loop, block by block

    def loops(self) -> Loops:
        """The next block of each, not yet run; what the plain loop is given is drawn now and not timed."""
        first = len(self.losses) * self.steps
        given = [self.found.given(first + k) for k in range(self.steps)]
        ours = {name: functools.partial(run.advance, self.steps) for name, run in self.runs.items()}
        return {"plain": lambda: self._plain(given), **ours}

    def counted(self) -> dict[str, int]:
        """The floating-point operations of a block of the plain loop and of ours."""
        counters = {name: FlopCounterMode(display=False) for name in ("plain", "ours")}
        with counters["plain"]:
            self.loops()["plain"]()
        self.runs["ours"].advance(self.steps, within=counters["ours"])
        return {name: counter.get_total_flops() for name, counter in counters.items()}

    def losses_of(self, name: str) -> list[float]:
        """The mean losses of the blocks of one of ours that its log has."""
        rows = Log(self.found.folder / name / "log.jsonl").rows()
        return [row["loss"] for row in rows if row["event"] == "step"]

    def difference(self, name: str) -> float:
        """The largest relative difference between the mean losses of two blocks of the same steps."""
        return max(abs(a - b) / abs(b) for a, b in zip(self.losses_of(name), self.losses, strict=False))

    def _plain(self, given: list[Given]) -> None:
        self.losses.append(statistics.fmean([self.plain.step(one) for one in given]))


def alternated(block: Callable[[], Loops], repeats: int, device: torch.device) -> dict[str, list[Taken]]:
    """What each loop took, `repeats` times, the loops taking turns and every second round in the other order.

    Args:
        block: gives the next block of each.
    """
    found: dict[str, list[Taken]] = {}
    for k in range(repeats):
        loops = block()
        for name in list(loops)[:: 1 if k % 2 == 0 else -1]:
            found.setdefault(name, []).append(taken(loops[name], device))
    return found


def _rates(blocks: list[Taken], samples: int) -> dict[str, float]:
    return {
        "samples_per_second": samples / statistics.median(one.seconds for one in blocks),
        "samples_per_processor_second": samples / statistics.median(one.processor_seconds for one in blocks),
    }


def _ratios(whole: dict[str, list[Taken]], slow: str, fast: str) -> dict[str, Any]:
    return {
        "wall": ratio([one.seconds for one in whole[slow]], [one.seconds for one in whole[fast]]),
        "processor": ratio([one.processor_seconds for one in whole[slow]], [o.processor_seconds for o in whole[fast]]),
    }


def _work(each: float, rates: dict[str, float], peaks: dict[str, float]) -> dict[str, Any]:
    """FLOPs a sample, and the share of each measured peak that they come to."""
    alone = not torch.cuda.is_available() and torch.get_num_threads() == 1
    rate = rates["samples_per_processor_second" if alone else "samples_per_second"]
    return {"flops_per_sample": each, "share_of_peak": {name: each * rate / peak for name, peak in peaks.items()}}


def _three(found: Setting, steps: int, repeats: int) -> dict[str, Any]:
    """Three students in one run against three runs of one, by the last variant of the size that is not compiled.

    Both have their weights and optimisers at hand, six students in all; where a device has no room for them, the share
    of time is None and the rest of the bench stands.
    """
    told = list(variants(found.size, compiled=False).values())[-1]
    about_it = {"students": list(found.size.students), "options": dict(told)}
    try:
        return {**about_it, "share_of_time": _together(found, steps, repeats, told)}
    except (torch.OutOfMemoryError, UserError) as error:
        if "out of memory" not in str(error):
            raise
        return {**about_it, "share_of_time": None, "not_measured": brief(error)}


def _together(found: Setting, steps: int, repeats: int, told: Mapping[str, Any]) -> dict[str, Any]:
    students = [found.student(spec) for spec in found.size.students]
    runs: list[Stepping] = []
    try:
        runs.append(found.run(students, "together", steps, **told))
        runs += [found.run([one], f"alone-{k}", steps, **told) for k, one in enumerate(students)]

        def one_by_one() -> None:
            for run in runs[1:]:
                run.advance(steps)

        loops: Loops = {"together": lambda: runs[0].advance(steps), "one by one": one_by_one}
        for work in loops.values():
            work()
        whole = alternated(lambda: loops, repeats, found.device)
    finally:
        for run in runs:
            run.end()
    return _ratios(whole, "together", "one by one")


def _sampling(found: Setting, repeats: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Latents of D by `generate` against the pipeline called prompt by prompt."""
    call, pipeline, device = {**found.size.call, **changes}, found.teacher.pipeline, found.device
    prompts = [found.prompts[k % len(found.prompts)] for k in range(4 if changes else NUM_SAMPLED)]
    pipeline.set_progress_bar_config(disable=True)
    made = 0

    def plain() -> None:
        for k, prompt in enumerate(prompts):
            drawn = torch.Generator(device).manual_seed(k)
            pipeline(prompt, generator=drawn, output_type="latent", **call)

    def ours() -> None:
        nonlocal made
        made += 1
        out = found.folder / f"made-{made}"
        generate(found.teacher, prompts, out=out, call=call, batch=len(prompts), progress=False)

    for work in (plain, ours):
        work()
    whole = alternated(lambda: {"plain": plain, "ours": ours}, repeats, device)
    rates = {name: _rates(blocks, len(prompts)) for name, blocks in whole.items()}
    return {**rates, "ratio": _ratios(whole, "plain", "ours"), "call": call, "items": len(prompts)}
