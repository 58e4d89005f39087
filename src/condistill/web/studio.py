"""What the page shows: the models of some runs, what they draw for one prompt, how long it takes, the runs' reports."""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError
from condistill.pictures import of_recipe

if TYPE_CHECKING:
    from condistill.teacher import Teacher

MAX_PROMPT, MAX_STEPS, MAX_GUIDANCE, MAX_SEED = 2000, 250, 100.0, 2**48
_KINDS = {"png": "image/png", "wav": "audio/wav", "webp": "image/webp"}


@dataclass(frozen=True)
class Model:
    """One model of the page.

    Attributes:
        name: as it is shown.
        load: what is loaded: embedded name, folder or hub id.
        options: how, as `Teacher.load` takes it.
        call: what the pipeline is called with where the page does not say otherwise.
        own_call: what it is called with whatever the page says, as a student that learned guidance is.
    """

    name: str
    load: str
    options: Mapping[str, Any]
    call: Mapping[str, Any]
    own_call: Mapping[str, Any] = field(default_factory=dict)


def models_of(runs: Sequence[str | Path]) -> list[Model]:
    """The teacher and the trained students of every run; each teacher once. A pipeline may be given as well.

    Raises:
        UserError: no such run or pipeline, or a run without a trained student.
    """
    from condistill.recipes.load import FILE
    from condistill.teacher.loading import resolve

    found: dict[str, Model] = {}
    for run in runs:
        folder = Path(run).expanduser()
        if not (folder / FILE).is_file():
            resolve(run)
            found[str(run)] = Model(Path(run).name, str(run), {}, {})
            continue
        for key, model in _of_run(folder, prefix=f"{folder.resolve().name} / " if len(runs) > 1 else ""):
            found.setdefault(key, model)
    return list(found.values())


def _of_run(folder: Path, *, prefix: str) -> list[tuple[str, Model]]:
    from condistill.recipes.arms import arms, own_calls
    from condistill.recipes.load import load_recipe
    from condistill.recipes.run import STUDENT, loading_options

    recipe = load_recipe(folder)
    own = own_calls(recipe, ("guidance_scale",))
    call = of_recipe((recipe.evaluate.call if recipe.evaluate else {}) or recipe.data.call)
    load = recipe.teacher.load
    found = [(load, Model("teacher", load, loading_options(recipe), call))]
    for arm in arms(recipe):
        student = folder / arm.folder / STUDENT
        if (student / "model_index.json").is_file():
            its = own.get(arm.name, {})
            found.append((str(student.resolve()), Model(prefix + arm.name, str(student), {}, call, its)))
    if len(found) == 1:
        raise UserError(f"no student in {folder} yet; finish the run first: condistill run {folder}")
    return found


class Studio:
    """Models that are loaded when they first draw, one at a time at work.

    Args:
        runs: run folders or pipelines.
    """

    def __init__(self, runs: Sequence[str | Path]):
        self.models = models_of(runs)
        self.runs = [Path(run).expanduser() for run in runs]
        self._loaded: dict[str, Teacher] = {}
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """The models' names, the call that they begin with and the runs that have a report, for the page."""
        call = self.models[0].call
        start = {"steps": call.get("num_inference_steps"), "guidance": call.get("guidance_scale")}
        return {"models": [model.name for model in self.models], "call": start, "reports": self.reports()}

    def reports(self) -> list[str]:
        """The names of the runs that have a report."""
        return [run.resolve().name if (run / "report.html").is_file() else "" for run in self.runs]

    def draw(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What one model draws: {"kind", "data" (a data URI), "seconds", "parameters", "width", "height"}.

        Args:
            asked: {"model": number, "prompt", "seed", "steps", "guidance"}; the last two may be null.

        Raises:
            UserError: a value of another kind or out of range.
        """
        from condistill.teacher.keys import parameters_of

        model = self.models[_whole(asked, "model", 0, len(self.models) - 1)]
        prompt, seed = asked.get("prompt"), _whole(asked, "seed", 0, MAX_SEED - 1)
        if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > MAX_PROMPT:
            raise UserError(f"the prompt must be a text of 1 to {MAX_PROMPT} characters")
        call = dict(model.call)
        if asked.get("steps") is not None:
            call["num_inference_steps"] = _whole(asked, "steps", 1, MAX_STEPS)
        if asked.get("guidance") is not None:
            call["guidance_scale"] = _scale(asked["guidance"])
        with self._lock:
            teacher = self._teacher(model, call)
            taken = parameters_of(teacher.pipeline)
            call |= {name: value for name, value in model.own_call.items() if name in taken}
            start = time.perf_counter()
            made = teacher.sample([prompt], seed=[seed], call=call, output="np").images
            seconds = time.perf_counter() - start
        size = sum(parameter.numel() for parameter in teacher.network.parameters())
        return {**_shown(teacher, made), "seconds": seconds, "parameters": size}

    def _teacher(self, model: Model, call: Mapping[str, Any]) -> Teacher:
        from condistill.teacher import Teacher

        if model.load not in self._loaded:
            self._loaded[model.load] = Teacher.load(model.load, call=call, **model.options)
        return self._loaded[model.load]


def _shown(teacher: Teacher, made: Any) -> dict[str, Any]:
    from condistill.evaluate.media import encoded
    from condistill.evaluate.sounds import sampling_rate

    found = None if made is None else encoded(made, rate=sampling_rate(teacher.pipeline, made))
    if found is None or made is None:
        raise UserError(f"{type(teacher.pipeline).__name__} gives no pictures, videos or sounds that a page could show")
    suffix, files = found
    data = f"data:{_KINDS[suffix]};base64,{base64.b64encode(files[0]).decode('ascii')}"
    is_sound = suffix == "wav"
    height, width = (0, 0) if is_sound else made.shape[-3:-1]
    return {"kind": "sound" if is_sound else "picture", "data": data, "width": int(width), "height": int(height)}


def _whole(asked: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{name} must be a whole number from {low} to {high}")
    return value


def _scale(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= MAX_GUIDANCE:
        raise UserError(f"guidance must be a number from 0 to {MAX_GUIDANCE:g}")
    return float(value)
