"""A run shown to trackers while it goes on: they follow the log, each on a thread of its own.

The log is what counts. A tracker is told every line that the log gets, and those before that it has not been told yet.
What a tracker does, how long it takes and whether it fails makes no difference to the training.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from condistill import processes
from condistill.errors import Remark, UserError, brief
from condistill.evaluate.sampling import slug
from condistill.files import beside, read_json, sweep
from condistill.memory import peak_mib
from condistill.reading import mapping, optional, text, whole
from condistill.train import trackers
from condistill.train.arm import Arm
from condistill.train.log import Listener
from condistill.train.trackers import Opening, Place

FOLDER = "trackers"
MOST_WAITING = 50_000  # lines that a tracker has not taken yet; a long run's log may come at once
SECONDS_TO_FINISH = 30.0

Job = Callable[[Any], None]  # what is to be done with a started tracker


@dataclass(frozen=True)
class Told:
    """What a tracker has been told of a run; in a file of its own.

    Attributes:
        run: what the run is called.
        settings: a hash of what the run was started with; another one is another run.
        own: what the tracker itself calls the run.
        step: the last step that it was told of.
    """

    run: str
    settings: str
    own: str | None = None
    step: int = -1


class Follower:
    """One tracker, fed through a queue by a thread of its own; the first thing that goes wrong ends it with a remark.

    Args:
        how: of `trackers.opening`.
        folder: of the run.
        settings: a hash of what the run was started with; "" to go on with the run that is there.
        config: what the tracker is told of a new run.
    """

    def __init__(self, how: Opening, folder: Path, *, settings: str, config: Mapping[str, Any]):
        self.name, self._how, self._config = how.name, how, config
        self._file = folder / FOLDER / f"{how.name}.json"
        sweep(self._file.parent)
        self._told, self.is_new = _told(self._file, folder, settings)
        self.before = self._told.step
        self._jobs: queue.Queue[Job | None] = queue.Queue(MOST_WAITING)
        self._has_failed = False
        self._thread = threading.Thread(target=self._work, name=f"tracker {how.name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # there is no memory for one
            self._drop(f"failed ({brief(error)})")

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Tells the tracker; nothing where it knows the step from before this run went on."""
        if step > self.before:
            self._put(lambda tracker: self._logged(tracker, values, step))

    def show(self, name: str, picture: UInt8[np.ndarray, "h w 3"] | None, file: Path, *, step: int) -> None:
        """Gives the tracker a picture, or, where it takes files only or there is none, its file."""
        if step > self.before:
            self._put(lambda tracker: _shown(tracker, name, picture, file, step))

    def _put(self, job: Job | None) -> None:
        if self._has_failed and job is not None:
            return
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._drop(f"does not keep up, {MOST_WAITING} lines are waiting")

    def _drop(self, why: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            warnings.warn(Remark(f"tracker {self.name}: {why}; the run goes on without it"), stacklevel=2)

    def _logged(self, tracker: Any, values: Mapping[str, float], step: int) -> None:
        tracker.log(dict(values), step=step)
        self._told = replace(self._told, step=max(step, self._told.step))
        self._save()

    def _work(self) -> None:
        try:
            place = Place(self._file.parent / self.name, self._told.run, self._told.own)
            tracker = self._how.make(place)
            tracker.start()
            self._told = replace(self._told, own=self._how.own(tracker))
            self._save()
            if self.is_new and self._config:
                tracker.store_init_configuration(dict(self._config))
            while (job := self._jobs.get()) is not None:
                if not self._has_failed:
                    job(tracker)
            tracker.finish()
        # whatever a library of somebody else does; some leave the program where nobody is logged in
        except (Exception, SystemExit) as error:
            self._drop(f"failed ({brief(error)})")

    def _save(self) -> None:
        temporary = beside(self._file)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(self._told.__dict__), encoding="utf-8")
        os.replace(temporary, self._file)  # not synchronised: after a power cut a few points may come twice

    def close(self, *, until: float) -> None:
        """Nothing, once the tracker is done; one that does not get done is left behind.

        Args:
            until: time.monotonic() up to which is waited.
        """
        self._put(None)
        if self._thread.is_alive():
            self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._drop("does not finish and is left behind")


def _shown(tracker: Any, name: str, picture: np.ndarray | None, file: Path, step: int) -> None:
    if picture is not None and hasattr(tracker, "log_images"):
        layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}  # it expects channels first
        tracker.log_images({name: picture[None]}, step=step, **layout)
    elif hasattr(tracker, "log_artifact"):
        tracker.log_artifact(str(file), file.parent.name)


def _told(file: Path, folder: Path, settings: str) -> tuple[Told, bool]:
    """What a tracker was told of this run, and whether the run is new to it."""
    if file.is_file():
        try:
            found = mapping(read_json(file), str(file))
            told = Told(
                text(found.get("run"), f"{file}: run"), text(found.get("settings"), f"{file}: settings"),
                optional(text, found.get("own"), f"{file}: own"), whole(found.get("step"), f"{file}: step"),
            )  # fmt: skip
        except UserError as error:
            warnings.warn(Remark(f"a new run is begun: {error}"), stacklevel=2)
        else:
            if settings in (told.settings, ""):
                return told, False
    where = folder.resolve()
    name = f"{where.parents[1].name}-{where.name}" if where.parent.name == "compare" else where.name
    return Told(f"{slug(name)}-{uuid.uuid4().hex[:8]}", settings), True


class Tracking:
    """All trackers of a run; on every process but the first there are none.

    Args:
        asked: see `trackers.named`.
        folder: of the run.
        settings: what the run was started with; empty to go on with what the trackers have, where they have it.
    """

    def __init__(self, asked: Any, folder: Path, *, settings: Mapping[str, Any]):
        known = json.dumps(settings, sort_keys=True, default=str)
        digest = hashlib.sha256(known.encode()).hexdigest()[:16] if settings else ""
        self._skipped: Counter[str] = Counter()
        self._followers = [
            Follower(how, folder, settings=digest, config=flat(settings))
            for how in _openings(asked)
            if settings or (folder / FOLDER / f"{how.name}.json").is_file()
        ]

    def listener(self, prefix: str) -> Listener:
        """What is to be told every line of a log; `prefix` comes before the names of its values."""

        def told(row: Mapping[str, Any], is_new: bool) -> None:
            self._skipped[prefix] += row["event"] == "skip"
            if row["event"] == "step" and self._followers:
                live = {"train/memory_mib": peak_mib()} if is_new else {}
                values = {**values_of(row), **live, "train/skipped_steps": self._skipped[prefix]}
                self.log({f"{prefix}{name}": value for name, value in values.items()}, step=row["step"])

        return told

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Tells every tracker."""
        for follower in self._followers:
            follower.log(values, step=step)

    def show(self, name: str, picture: UInt8[np.ndarray, "h w 3"] | None, file: Path, *, step: int) -> None:
        """Shows a picture, which is also in `file`, to every tracker."""
        for follower in self._followers:
            follower.show(name, picture, file, step=step)

    def close(self) -> None:
        """Nothing, once every tracker is done or is left behind."""
        until = time.monotonic() + SECONDS_TO_FINISH
        for follower in self._followers:
            follower.close(until=until)


def _openings(asked: Any) -> Iterator[Opening]:
    for one in trackers.named(asked) if processes.is_main() else ():
        try:
            yield trackers.opening(one)
        except UserError as error:
            said = f"tracker {trackers.name_of(one)}: {error}; the run goes on without it"
            warnings.warn(Remark(said), stacklevel=2)


@contextmanager
def tracked(asked: Any, folder: Path, arms: Sequence[Arm], *, settings: Mapping[str, Any]) -> Iterator[Tracking]:
    """A block in which the trackers follow the logs of the arms.

    Args:
        asked: see `trackers.named`.
        folder: of the run.
        settings: what the run was started with; other settings are another run.
    """
    found = Tracking(asked, folder, settings=settings)
    for arm in arms:
        arm.log.listeners.append(found.listener(f"student-{arm.name}/" if len(arms) > 1 else ""))
    try:
        yield found
    finally:
        found.close()


def tell_scores(asked: Any, folder: Path, values: Mapping[str, float], *, step: int) -> None:
    """Tells the trackers that followed a run's training what its student scored, as one step more.

    Args:
        values: "unseen/kd_gap" -> score.
        step: the last step of the training.
    """
    found = Tracking(asked, folder, settings={})
    # trackers refuse what comes for a step that they have closed
    found.log({f"evaluate/{name}": value for name, value in values.items()}, step=step + 1)
    found.close()


def values_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a "step" line by the names that trackers show.

    >>> values_of({"event": "step", "step": 9, "loss": 2.0, "terms": {"out": 0.5}, "taps": {"mid": 1.5}, "lr": 0.1})
    {'loss/total': 2.0, 'loss/out': 0.5, 'taps/mid': 1.5, 'train/lr': 0.1}
    """
    found = {"loss/total": row.get("loss")} | {f"loss/{name}": value for name, value in row.get("terms", {}).items()}
    found |= {f"taps/{re.sub(r'[^A-Za-z0-9_. -]', '-', name)}": value for name, value in row.get("taps", {}).items()}
    found |= {f"train/{name}": row.get(name) for name in ("swap_rate", "lr", "grad_norm", "samples_per_second")}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str | float | bool]:
    """The values of nested settings by dotted names, as every tracker takes them.

    >>> flat({"train": {"lr": 0.1, "betas": [0.9, 0.999]}})
    {'train.lr': 0.1, 'train.betas': '[0.9, 0.999]'}
    """
    found: dict[str, str | float | bool] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, int | float) else str(value)[:200]
    return found
