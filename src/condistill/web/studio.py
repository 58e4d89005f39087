"""What the page shows: the models of some runs, what they draw for one prompt, how long it takes, the runs' reports."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError
from condistill.files import read_json
from condistill.pictures import of_recipe
from condistill.reading import listed, mapping
from condistill.teacher.loading import resolve

if TYPE_CHECKING:
    from condistill.teacher import Teacher

MAX_PROMPT, MAX_STEPS, MAX_GUIDANCE, MAX_SEED = 2000, 250, 100.0, 2**48
PROMPTS_OF_A_GROUP = 4  # offered as examples


@dataclass(frozen=True)
class Asked:
    """What the page asks for, as it comes from there.

    Attributes:
        prompt: 1 to MAX_PROMPT characters.
        seed: from 0, below MAX_SEED.
        steps: from 1 to MAX_STEPS; None for the pipeline's own.
        guidance: from 0 to MAX_GUIDANCE; None for the pipeline's own.
    """

    prompt: Any
    seed: Any = 0
    steps: Any = None
    guidance: Any = None

    def check(self) -> None:
        """Nothing, if all of it is of the right kind and in range.

        Raises:
            UserError: what is not.
        """
        if not isinstance(self.prompt, str) or not self.prompt.strip() or len(self.prompt) > MAX_PROMPT:
            raise UserError(f"the prompt must be a text of 1 to {MAX_PROMPT} characters")
        _check_whole(self.seed, "seed", 0, MAX_SEED - 1)
        if self.steps is not None:
            _check_whole(self.steps, "steps", 1, MAX_STEPS)
        if self.guidance is not None:
            _check_scale(self.guidance)


@dataclass(frozen=True)
class Drawn:
    """What one model drew.

    Attributes:
        suffix: png, webp or wav, for pictures, videos and sounds.
        content: the bytes of such a file.
        seconds: that it took, without loading the model.
        parameters: of the model's denoiser.
        width, height: in pixels; 0 for a sound.
    """

    suffix: str
    content: bytes
    seconds: float
    parameters: int
    width: int
    height: int

    def caption(self, first: Drawn | None) -> str:
        """Time and size in a line, beside those of the first model.

        >>> big, small = (Drawn("png", b"", 2.0, size, 64, 64) for size in (3_000_000, 1_500_000))
        >>> small.caption(big)
        '2.00 s, 1.5 M parameters (50 % of the first), 64 x 64 pixels'
        """
        size = f"{self.parameters / 1e6:.1f} M parameters"
        if first is not None and first.parameters:
            size += f" ({100 * self.parameters / first.parameters:.0f} % of the first)"
        pixels = f", {self.width} x {self.height} pixels" if self.width else ""
        return f"{self.seconds:.2f} s, {size}{pixels}"


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

    found: dict[str, Model] = {}
    for run in runs:
        folder = Path(run).expanduser()
        if not (folder / FILE).is_file():
            try:
                resolve(run)
            except UserError as error:
                raise UserError(f"{run} is no run folder (it has no {FILE}), and {error}") from None
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

    Raises:
        UserError: no such run or pipeline, or a run without a trained student.
    """

    def __init__(self, runs: Sequence[str | Path]):
        self.models = models_of(runs)
        self.runs = [Path(run).expanduser() for run in runs]
        self._loaded: dict[str, Teacher] = {}
        self._lock = threading.Lock()
        for model in self.models:
            if model.load in map(str, runs) and isinstance(resolve(model.load), str):  # on the hub, or a slip: said now
                self._teacher(model, model.call)

    def begins_with(self, argument: str) -> float | None:
        """The value of a call's argument that the page begins with: the first run's, or its pipeline's own.

        None where the pipeline takes none, or says nothing of it before it is loaded.
        """
        model = self.models[0]
        if argument in model.call:
            return model.call[argument]
        known = _parameters(model.load, self._loaded).get(argument)
        return known.default if known is not None and isinstance(known.default, int | float) else None

    def reports(self) -> list[tuple[str, Path]]:
        """Name and report of every run; the file may not be there."""
        return [(run.resolve().name, run / "report.html") for run in self.runs]

    def prompts(self) -> list[str]:
        """Some of the prompts that the first run's samples were made for, of every group."""
        for run in self.runs:
            file = run / "samples" / "index.json"
            if file.is_file():
                groups = mapping(mapping(read_json(file), str(file)).get("groups"), f"{file}: groups")
                found = [key for keys in groups.values() for key in listed(keys, str(file))[:PROMPTS_OF_A_GROUP]]
                return [key for key in found if isinstance(key, str)]
        return []

    def draw(self, number: int, asked: Asked) -> Drawn:
        """What the model of that number draws.

        Raises:
            UserError: a value of another kind or out of range; what the model's pipeline does not take.
        """
        from condistill.teacher.keys import parameters_of

        asked.check()
        model = self.models[number]
        call = dict(model.call)
        if asked.steps is not None:
            call["num_inference_steps"] = asked.steps
        if asked.guidance is not None:
            call["guidance_scale"] = float(asked.guidance)
        with self._lock:
            teacher = self._teacher(model, call)
            taken = parameters_of(teacher.pipeline)
            call |= {name: value for name, value in model.own_call.items() if name in taken}
            start = time.perf_counter()
            made = teacher.sample([asked.prompt], seed=[asked.seed], call=call, output="np").images
            seconds = time.perf_counter() - start
        size = sum(parameter.numel() for parameter in teacher.network.parameters())
        return Drawn(*_file(teacher, made), seconds, size, *_pixels(made))

    def _teacher(self, model: Model, call: Mapping[str, Any]) -> Teacher:
        from condistill.teacher import Teacher

        if model.load not in self._loaded:
            self._loaded[model.load] = Teacher.load(model.load, call=call, **model.options)
        return self._loaded[model.load]


def _parameters(load: str, loaded: Mapping[str, Teacher]) -> Mapping[str, inspect.Parameter]:
    """Those of a pipeline's call, of a folder's pipeline without loading it."""
    import diffusers

    from condistill.teacher.keys import parameters_of

    if load in loaded:
        return parameters_of(loaded[load].pipeline)
    folder = resolve(load)
    name = read_json(folder / "model_index.json").get("_class_name") if isinstance(folder, Path) else None
    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    return inspect.signature(kind.__call__).parameters if isinstance(kind, type) else {}


def _file(teacher: Teacher, made: Any) -> tuple[str, bytes]:
    """The suffix and bytes of the first sample's file."""
    from condistill.evaluate.media import encoded
    from condistill.evaluate.sounds import sampling_rate

    found = None if made is None else encoded(made, rate=sampling_rate(teacher.pipeline, made))
    if found is None:
        raise UserError(f"{type(teacher.pipeline).__name__} gives no pictures, videos or sounds that a page could show")
    suffix, files = found
    return suffix, files[0]


def _pixels(made: Any) -> tuple[int, int]:
    """Width and height; (0, 0) of sounds."""
    return (made.shape[-2], made.shape[-3]) if made.ndim > 3 else (0, 0)


def _check_whole(value: Any, name: str, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{name} must be a whole number from {low} to {high}")


def _check_scale(value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= MAX_GUIDANCE:
        raise UserError(f"guidance must be a number from 0 to {MAX_GUIDANCE:g}")
