"""Comparing: our loop and the plain one, three students at once and one by one, D ours and prompt by prompt."""

from __future__ import annotations

import datetime
import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from condistill.bench import machine
from condistill.bench.clock import Clock, Taken, ratio, taken
from condistill.bench.plain import Given, PlainLoop
from condistill.bench.setting import Setting, setting, watched
from condistill.bench.sizes import SIZES
from condistill.bench.stepping import Stepping
from condistill.errors import UserError, unknown_name
from condistill.generate import generate
from condistill.train.log import Log
from condistill.versions import versions

NUM_SAMPLED = 32
Loops = dict[str, Callable[[], Any]]


def bench(
    size: str = "world", *, tiny: bool = False, steps: int = 5, repeats: int = 5, batch: int | None = None
) -> dict[str, Any]:
    """Everything that is measured of one size, as plain numbers.

    Args:
        size: a name in SIZES.
        tiny: the same networks with few channels, on any device: tries the bench, says nothing of the size.
        steps: training steps in a block; blocks of both loops take turns.
        repeats: blocks of each loop.
        batch: samples a step; the size's own where not given.

    Raises:
        UserError: unknown size, or one that wants a GPU where there is none.
    """
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    chosen = SIZES[size]
    on_gpu = torch.cuda.is_available() and chosen.needs_gpu
    if chosen.needs_gpu and not (tiny or on_gpu):
        raise UserError(f"got size {size}, which wants a GPU, and there is none; use --tiny to try it, or --size world")
    device = torch.device("cuda" if on_gpu else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        found = setting(chosen, Path(folder), tiny=tiny, device=device, batch=batch)
        peaks = machine.peaks(device)
        return {
            "size": size, "tiny": tiny, "batch": found.options.batch, "steps": steps, "repeats": repeats,
            "date": datetime.date.today().isoformat(), "machine": machine.describe(device), "versions": versions(),
            "peak_flops_per_second": peaks,
            "training": _training(found, steps, repeats, peaks),
            "three_students": _three(found, steps, repeats),
            "making_d": _sampling(found, repeats, {"num_inference_steps": 2} if tiny else {}),
        }  # fmt: skip


def _training(found: Setting, steps: int, repeats: int, peaks: dict[str, float]) -> dict[str, Any]:
    student, silent = found.student(found.size.students[0]), Clock(found.device)
    both = _Both(found.plain_loop(student, silent), found.run([student], "ours", steps), found, steps)
    for work in both.loops().values():  # these steps warm up
        work()
    whole = alternated(both.loops, repeats, found.device)
    kept: dict[str, Any] = {}
    for name in whole:
        clock = both.plain.clock = Clock(found.device)
        with watched(clock) if name == "ours" else nullcontext():
            spent = taken(both.loops()[name], found.device)
        both.plain.clock = silent
        kept[name] = _rates(whole[name], steps * found.options.batch)
        kept[name] |= {
            "parts": clock.shares(spent.seconds if found.device.type == "cuda" else spent.processor_seconds),
            "peak_mib": machine.peak_mib(both.loops()[name], found.device),
        }
    for name, work in both.counted().items():
        kept[name] |= _work(work / (steps * found.options.batch), kept[name], peaks)
    both.ours.end()
    return {**kept, "ratio": _ratios(whole, "plain", "ours"), "difference_of_losses": both.difference()}


class _Both:
    """Blocks of steps of the two loops, each going on where its own last block ended."""

    def __init__(self, plain: PlainLoop, ours: Stepping, found: Setting, steps: int):
        self.plain, self.ours, self.found, self.steps = plain, ours, found, steps
        self.losses: list[float] = []  # of the plain loop, block by block

    def loops(self) -> Loops:
        """The next block of each, not yet run; what the plain loop is given is drawn now and not timed."""
        first = len(self.losses) * self.steps
        given = [self.found.given(first + k) for k in range(self.steps)]
        return {"plain": lambda: self._plain(given), "ours": lambda: self.ours.advance(self.steps)}

    def counted(self) -> dict[str, int]:
        """The floating-point operations of a block of each."""
        counters = {name: FlopCounterMode(display=False) for name in ("plain", "ours")}
        with counters["plain"]:
            self.loops()["plain"]()
        self.ours.advance(self.steps, within=counters["ours"])
        return {name: counter.get_total_flops() for name, counter in counters.items()}

    def difference(self) -> float:
        """The largest relative difference between the mean losses of two blocks of the same steps."""
        rows = Log(self.found.folder / "ours" / "log.jsonl").rows()
        ours = [row["loss"] for row in rows if row["event"] == "step"]
        return max(abs(a - b) / abs(b) for a, b in zip(ours, self.losses, strict=False))

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
    """Three students in one run against three runs of one."""
    students = [found.student(spec) for spec in found.size.students]
    together = found.run(students, "together", steps)
    alone = [found.run([one], f"alone-{k}", steps) for k, one in enumerate(students)]

    def one_by_one() -> None:
        for run in alone:
            run.advance(steps)

    loops: Loops = {"together": lambda: together.advance(steps), "one by one": one_by_one}
    for work in loops.values():
        work()
    whole = alternated(lambda: loops, repeats, found.device)
    for run in (together, *alone):
        run.end()
    return {"students": list(found.size.students), "share_of_time": _ratios(whole, "together", "one by one")}


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
