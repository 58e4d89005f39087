"""Kills condistill at random moments, again and again, and compares what comes out with an undisturbed run.

    python benchmarks/kill_storm.py [--kills 100] [--seed 0] [--longest 8] [--out DIR]

Every command line is run in a forked process that has the libraries loaded, so that the kills fall on work and not on
imports; one in eight is a fresh `python -m condistill.cli`. After a random time it gets SIGKILL, or, one time in eight,
SIGTERM or SIGUSR1, upon which it must end with 130. Then the same command goes on. A round is over when all of its
commands have ended well; then every file that does not depend on the clock must be, byte for byte, that of the
undisturbed run: D, weights, log, scores. Rounds follow one another until there were enough kills.

    run       cache, train, then run: D, two students, evaluation, report
    evaluate  condistill evaluate ... --out
    ablate    a grid of two cells

Prints one line a round and, at the end, one JSON object.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import itertools
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLOCKED = (
    "seconds",
    "samples_per_second",
    "created",
    "latency_seconds",
    "train_seconds",
    "machine",
    "inputs",
    "versions",
)
UNCOMPARED = ("report.html", "recipe.yaml", "ablation.md", "progress.jsonl")  # they show times or paths


@dataclass
class Storm:
    """Strikes commands at random moments and counts what happened.

    Attributes:
        random: decides when and by what.
        longest: seconds within which the first strike falls.
        log: file that the commands write to.
        fresh: the share of strikes on a process of its own, with its imports.
        asked: the share of strikes that ask instead of killing.
    """

    random: random.Random
    longest: float
    log: Path
    fresh: float = 0.125
    asked: float = 0.125
    counts: Counter[str] = field(default_factory=Counter)

    def until_done(self, argv: Sequence[str], *, least: int = 0, soon: float = 0.5) -> None:
        """Runs one command line, strikes it, and runs it again until it ends well.

        Args:
            least: how often it is struck within `soon` seconds, before it can have ended well.
            soon: less than the whole takes.
        """
        for strike in itertools.count():
            number = self.random.choice([signal.SIGTERM, signal.SIGUSR1])
            number = number if self.random.random() < self.asked else signal.SIGKILL
            # each time a little later, so that a machine that is too busy to get anywhere gets somewhere in the end
            seconds = soon if strike < least else self.longest * 1.1**strike
            start = started_fresh if self.random.random() < self.fresh else started_by_fork
            code = struck(start(argv, self.log), self.random.uniform(0, seconds), number)
            if code == 0:
                self.counts["ended well"] += 1
                return
            name = {signal.SIGKILL: "SIGKILL", 130: "asked"}.get(-code if code < 0 else code)
            # a fresh process has no handler in its first moments
            if name is None and code not in (-signal.SIGTERM, -signal.SIGUSR1):
                raise SystemExit(f"{' '.join(argv)} ended with {code}:\n{self.log.read_text(errors='replace')[-3000:]}")
            self.counts[name or "asked too early"] += 1
            self.counts[f"{name or 'asked too early'} in {argv[0]}"] += 1


def started_by_fork(argv: Sequence[str], log: Path) -> int:
    """The process number of a fork of ours that runs the command line."""
    from condistill.cli import main

    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with open(log, "a", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = main(list(argv))
    finally:
        os._exit(code)


def started_fresh(argv: Sequence[str], log: Path) -> int:
    """The process number of `python -m condistill.cli`."""
    with open(log, "a", encoding="utf-8") as file:
        return subprocess.Popen([sys.executable, "-m", "condistill.cli", *argv], stdout=file, stderr=file).pid


def struck(pid: int, seconds: float, number: int) -> int:
    """The exit code of a process that got a signal after `seconds`, if it still ran; minus the signal it died of."""
    deadline = time.monotonic() + seconds
    is_struck = False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if not is_struck and time.monotonic() >= deadline:
            os.kill(pid, number)
            is_struck = True
        time.sleep(0.005)


def contents(folder: Path) -> dict[str, Any]:
    """Path -> what must not differ between two runs, for every file below a folder, hidden ones included."""
    found: dict[str, Any] = {}
    # a stop saves a checkpoint of its own step, and retention then keeps others beside the newest
    older = {step for all_of in folder.rglob("checkpoints") for step in sorted(all_of.glob("step-*"))[:-1]}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        shown = "trackers" in path.relative_to(folder).parts  # what trackers keep has names and times of its own
        if path.is_dir() or shown or path.name in UNCOMPARED or older & set(path.parents):
            continue
        if path.name == "log.jsonl":
            found[name] = [_unclocked(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
        elif path.suffix == ".json":
            found[name] = _unclocked(json.loads(path.read_text("utf-8")))
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _unclocked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unclocked(below) for name, below in value.items() if name not in (*CLOCKED, "own_sha256")}
    return [_unclocked(below) for below in value] if isinstance(value, list) else value


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The files in which two folders differ, or that one of them lacks."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def items(cache: Path) -> list[int]:
    """The numbers of all items in D, as its rows give them."""
    rows = [json.loads(line) for file in sorted(cache.glob("shard-*.jsonl")) for line in file.read_text().splitlines()]
    return [row["item"] for row in rows if "item" in row]


RECIPE = """
teacher: emoji
student: {{spec: c-micro, init: random}}
data: {{prompts: {{world: emoji, group: seen}}, num_items: 24, shard_items: 3, batch: 3, dtype: float32,
  call: {{num_inference_steps: 2, guidance_scale: 2.0}}}}
train: {{steps: {steps}, batch: 4, micro_batch: 2, lr: 1.0e-3, ema: 0.9, checkpoint_every: 3, log_every: 2}}
swap: gap
evaluate: {{prompts: {{seen: {{world: emoji, group: seen}}}}, num_items: {{seen: 6}}, batch: 2, grid: 2, latency: false,
  call: {{num_inference_steps: 2, guidance_scale: 2.0}}}}
compare: {{without: {{p_random: never}}}}
"""


def rounds(folder: Path, steps: int) -> dict[str, Callable[[Path], list[list[str]]]]:
    """Name -> the command lines of a round in the folder it is given."""
    from condistill.corpus import corpus

    recipe = folder / "storm.yaml"
    recipe.write_text(RECIPE.format(steps=steps), encoding="utf-8")
    prompts = folder / "prompts.txt"
    seen, unseen = (corpus({"world": "emoji", "group": group}) for group in ("seen", "unseen"))
    prompts.write_text("".join(f"{some[k]}\n" for some in (seen, unseen) for k in range(3)), encoding="utf-8")

    def run(out: Path) -> list[list[str]]:
        return [[verb, str(recipe), "--out", str(out)] for verb in ("cache", "train", "run")]

    def evaluate(out: Path) -> list[list[str]]:
        asked = ["--prompts", str(prompts), "--steps", "2", "--batch", "1"]
        return [["evaluate", "emoji", *asked, "--out", str(out)]]

    def ablate(out: Path) -> list[list[str]]:
        grid = ["--over", "p_random=never,linear", "--seeds", "1", f"train.steps={max(2, steps // 3)}"]
        return [["ablate", str(recipe), *grid, "--out", str(out)]]

    return {"run": run, "evaluate": evaluate, "ablate": ablate}


def main() -> None:
    """The storm."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--steps", type=int, default=24)
    options.add_argument("--longest", type=float, default=8.0)
    options.add_argument("--out", type=Path, default=None)
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    load()
    folder = given.out or Path(tempfile.mkdtemp(prefix="kill-storm-"))
    folder.mkdir(parents=True, exist_ok=True)
    storm = Storm(random.Random(given.seed), given.longest, folder / "commands.log")
    wanted, start, compared = {}, time.monotonic(), 0
    made = rounds(folder, given.steps)
    for name, commands in made.items():
        for argv in commands(folder / f"undisturbed-{name}"):
            code = struck(started_by_fork(argv, storm.log), 1e9, signal.SIGKILL)
            assert code == 0, f"{argv} ended with {code}: see {storm.log}"
        wanted[name] = contents(folder / f"undisturbed-{name}")
    print(f"undisturbed: {time.monotonic() - start:.0f} s", flush=True)
    number = 0
    while storm.counts["SIGKILL"] < given.kills:
        name = ("run", "evaluate", "ablate")[number % 3]
        out = folder / f"round-{number}"
        for argv in made[name](out):
            storm.until_done(argv)
        found = contents(out)
        assert found == wanted[name], f"round {number} ({name}) differs: {differing(found, wanted[name])}"
        if name == "run":
            assert items(out / "cache") == list(range(24)), "an item is lost or doubled"
        compared += len(found)
        print(f"round {number} ({name}): identical; {dict(storm.counts)}", flush=True)
        shutil.rmtree(out)
        number += 1
    about = {"seed": given.seed, "rounds": number, "files_compared": compared, "counts": dict(storm.counts)}
    about |= {"differences": 0, "seconds": round(time.monotonic() - start), "machine": platform.machine()}
    print(json.dumps(about | {"date": f"{datetime.datetime.now():%Y-%m-%d}", "cores": os.cpu_count()}))


def load() -> None:
    """Imports what a command needs, so that forks have it."""
    import torch

    torch.set_num_threads(1)
    import condistill.cli
    import condistill.recipes.ablation
    import condistill.recipes.measuring
    import condistill.recipes.run
    import condistill.report
    import condistill.train  # noqa: F401
    from condistill import Teacher, evaluate, generate  # noqa: F401


if __name__ == "__main__":
    main()
