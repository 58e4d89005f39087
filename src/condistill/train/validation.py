"""What teacher and students make of the same prompts and seeds, every so many steps of a training.

It is only looked at: no bit of the training depends on whether, when or how often it is done.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from condistill import processes
from condistill.cache import Cache
from condistill.distill.step import Method, bare
from condistill.errors import Remark, UserError, brief
from condistill.evaluate.references import UNREADABLE
from condistill.evaluate.sheets import Sheet, sheet, tiles
from condistill.evaluate.sounds import sampling_rate
from condistill.files import atomic, read_json, write_atomic, write_json
from condistill.maths.draws import integers, numbers, permuted
from condistill.maths.randomise import Key
from condistill.memory import room_made
from condistill.pictures import first
from condistill.reading import listed, mapping, text, whole
from condistill.teacher.keys import parameters_of
from condistill.train.arm import Arm
from condistill.train.options import TrainOptions
from condistill.train.sharding import gathered
from condistill.train.tracking import Tracking

FOLDER, INDEX, TEACHER = "validation", "index.json", "teacher.npz"
COLUMNS = 4  # of each group, where no prompts are given
LOOKED_AT = 256  # conditions of C in which those that D lacks are looked for
BATCH = 4  # samples at once: the memory is full of the training


def validation_of(
    teacher: Any, arms: Sequence[Arm], cache: Cache, *, method: Method, options: TrainOptions, folder: Path,
    tracking: Tracking,
) -> Validation | None:  # fmt: skip
    """The validation of a run, which every process has; None where none is asked for."""
    if not options.validate_every:
        return None
    return Validation(teacher, arms, cache, method=method, options=options, folder=folder, tracking=tracking)


class Validation:
    """The grids of a run, in its folder `validation`: one file for every `validate_every` steps, and an index.

    The first process draws. Where the processes hold shares of the students, all of them take part in putting each
    together for it.

    Args:
        teacher: recorded with D's call.
        arms: the students in training.
        cache: D, by whose call all models draw.
        method: of the training.
        options: of the training; `validate_every` is given.
        folder: of the run.
        tracking: is shown the grids.

    Raises:
        UserError: the pipeline makes nothing that can be shown.
    """

    def __init__(
        self, teacher: Any, arms: Sequence[Arm], cache: Cache, *, method: Method, options: TrainOptions, folder: Path,
        tracking: Tracking,
    ):  # fmt: skip
        assert options.validate_every
        self._teacher, self._arms, self._options, self._tracking = teacher, arms, options, tracking
        self._folder, self._call = folder / FOLDER, first(cache.manifest.call)
        self._groups = groups_of(options.validate_prompts, cache, method)
        self._keys = [key for keys in self._groups.values() for key in keys]
        self._seeds = [int(n) for n in integers(options.seed, "validate", numbers(0, len(self._keys)), 2**31)]
        # a student that learned the guided prediction does without guidance
        is_guided = method.weights.guidance != 1.0 and "guidance_scale" in parameters_of(teacher.pipeline)
        self._own_call = {**self._call, **({"guidance_scale": 1.0} if is_guided else {})}
        self._is_sharded = any(arm.outline is not None for arm in arms)
        self._steps: dict[int, str] = {}
        self._has_failed = False

    def begin(self, step: int) -> None:
        """Finds the grids up to `step`, forgets later ones, and has the teacher draw if it has not yet.

        Raises:
            UserError: on every process: the pipeline cannot draw, or makes nothing that can be shown.
        """
        processes.by_main(lambda: self._begin(step))

    def _begin(self, step: int) -> None:
        drawn = _hash([self._teacher.hash, self._keys, self._seeds, self._call])
        self._identity = _hash([drawn, [arm.name for arm in self._arms]])
        self._steps = {n: file for n, file in self._found().items() if n <= step}
        for file in self._folder.glob("step-*"):
            if file.name not in self._steps.values():
                file.unlink()
        kept = self._folder / TEACHER
        found = _drawn_before(kept, drawn)
        if found is None:
            found = self._of_teacher()
            with atomic(kept) as temporary, open(temporary, "wb") as stream:
                np.savez_compressed(stream, tiles=found[0], rate=np.array(found[1] or 0), identity=np.array(drawn))
        self._top, self._rate = found
        self._write_index()

    def after(self, step: int) -> float:
        """The seconds spent on the grid of this step; none where there is to be none, or it is there."""
        every = self._options.validate_every or 0
        if step == 0 or step % every:
            return 0.0
        # what the first process knows: whether it is there already, and whether one has failed
        is_wanted = processes.is_main() and step not in self._steps and not self._has_failed
        if not (processes.any_of(is_wanted) if self._is_sharded else is_wanted):
            return 0.0
        start = time.monotonic()
        networks = [self._whole(arm) for arm in self._arms]
        if not processes.is_main():
            return 0.0
        try:
            with untouched():
                students = map(self._of_student, self._arms, networks)
                made = sheet([self._top, *students], rate=self._rate)
        except Exception as error:  # of whatever pipeline; the training is worth more than its pictures
            self._has_failed = True
            room_made()
            said = f"no more validation grids: the one of step {step} failed ({brief(error)}); the training goes on"
            warnings.warn(Remark(said), stacklevel=2)
        else:
            self._keep(step, made)
        return time.monotonic() - start

    def _keep(self, step: int, made: Sheet) -> None:
        name = f"step-{step:06d}.{made.suffix}"
        write_atomic(self._folder / name, made.content)
        self._steps[step] = name
        self._write_index()
        self._tracking.show("validation/grid", made.picture, self._folder / name, step=step)

    def _of_teacher(self) -> tuple[np.ndarray, int | None]:
        try:
            with untouched():
                return self._drawn(self._teacher, self._call)
        except UserError:
            raise
        except (RuntimeError, ValueError, MemoryError) as error:
            raise UserError(
                f"the teacher cannot draw for the validation grids ({brief(error)}); leave train.validate_every out, "
                "or give other train.validate_prompts"
            ) from error

    def _whole(self, arm: Arm) -> nn.Module | None:
        """The arm's network with the weights that would be saved now, where the processes hold shares of it."""
        if arm.outline is None:
            return None
        network = bare(arm.pupil).network
        averages = zip(network.parameters(), arm.ema.shadow_params, strict=True)
        instead = {id(parameter): average for parameter, average in averages} if self._options.save == "ema" else {}
        return gathered(arm.outline, network, instead)

    def _of_student(self, arm: Arm, network: nn.Module | None) -> np.ndarray:
        """The tiles of a student with the weights that would be saved now; those of `network` where it is given."""
        if network is not None:
            # put together in the machine's memory; a plan is for cutting, and drawing asks for none
            return self._drawn(arm.student.with_network(network.to(self._teacher.device)), self._own_call)[0]
        parameters = list(bare(arm.pupil).network.parameters())
        with ExitStack() as after:
            if self._options.save == "ema":
                arm.ema.store(parameters)
                after.callback(arm.ema.restore, parameters)
                arm.ema.copy_to(parameters)
            return self._drawn(arm.student, self._own_call)[0]

    @torch.no_grad()
    def _drawn(self, model: Any, call: Mapping[str, Any]) -> tuple[np.ndarray, int | None]:
        made = model.sample(self._keys, seed=self._seeds, call=call, output="np", batch=BATCH).images
        rate = sampling_rate(model.pipeline, made)
        found = None if made is None else tiles(np.nan_to_num(made), rate)
        if found is None:
            raise UserError(
                f"{type(model.pipeline).__name__} gives no pictures, videos or sounds to look at; leave "
                "train.validate_every out"
            )
        return found, rate

    def _found(self) -> dict[int, str]:
        """Step -> file of the grids that are there, if they are of these prompts and this teacher."""
        file = self._folder / INDEX
        if not file.is_file():
            return {}
        try:
            index = mapping(read_json(file), str(file))
            rows = listed(index.get("steps"), f"{file}: steps") if index.get("identity") == self._identity else []
            found = {
                whole(mapping(row, str(file)).get("step"), f"{file}: step"): text(row.get("file"), f"{file}: file")
                for row in rows
            }
        except UserError:
            return {}  # they are made again
        return {step: name for step, name in found.items() if (self._folder / name).is_file()}

    def _write_index(self) -> None:
        groups = {name: [shown(key) for key in keys] for name, keys in self._groups.items()}
        students = [arm.name for arm in self._arms] if len(self._arms) > 1 else [""]
        rows = [{"step": step, "file": name} for step, name in sorted(self._steps.items())]
        write_json(
            self._folder / INDEX,
            {"identity": self._identity, "groups": groups, "students": students, "seeds": self._seeds, "steps": rows},
        )


def _hash(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=repr).encode()).hexdigest()


def _drawn_before(file: Path, identity: str) -> tuple[np.ndarray, int | None] | None:
    """The tiles of the teacher and their rate from a file; None where it has not these, or cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if str(arrays["identity"]) == identity:
                return arrays["tiles"], int(arrays["rate"]) or None
    except UNREADABLE:
        pass
    return None


def shown(key: Key) -> str:
    """A key for people; of what is no text, the beginning."""
    return key if isinstance(key, str) else json.dumps(key, sort_keys=True, default=lambda value: type(value).__name__)


def groups_of(given: Any, cache: Cache, method: Method) -> dict[str, list[Key]]:
    """Group -> its prompts: those given, else some of D ("seen") and some of C that D has nothing of ("unseen").

    Args:
        given: group -> keys, or keys alone; None chooses.
        cache: D.
        method: its corpus is C.

    Raises:
        UserError: no prompts in a group.
    """
    if given is not None:
        groups = {str(name): list(keys) for name, keys in given.items()} if isinstance(given, Mapping) else {}
        groups = groups or {"prompts": [given] if isinstance(given, str) else list(given)}
        for name, keys in groups.items():
            if not keys:
                raise UserError(f"train.validate_prompts has no prompts in {name!r}; give some, or leave the group out")
        return groups
    seen = {json.dumps(key, sort_keys=True, default=repr): key for key in cache.keys}
    some = list(seen.values())
    chosen = permuted(method.seed, "validate/seen", numbers(0, min(COLUMNS, len(some))), len(some))
    num = len(method.corpus)
    others = permuted(method.seed, "validate/unseen", numbers(0, min(LOOKED_AT, num)), num)
    drawn = (method.corpus[int(k)] for k in others)
    unseen = [key for key in drawn if json.dumps(key, sort_keys=True, default=repr) not in seen][:COLUMNS]
    return {"seen": [some[int(k)] for k in chosen]} | ({"unseen": unseen} if unseen else {})


@contextmanager
def untouched() -> Iterator[None]:
    """A block that leaves every global generator as it was, and in which nothing is compiled anew."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
