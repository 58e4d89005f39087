"""What every drawn pipeline is put through."""

from __future__ import annotations

import traceback
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import DiffusionPipeline

from condistill import Teacher, UserError, distill, generate
from condistill.students.presets import PRESETS
from condistill.students.stacks import lengths
from condistill.teacher.keys import key_arguments, parameters_of
from strangers.variant import Found, Variant

# of the largest value; summation order differs with the size of the batch
CLOSE = 2e-3
# (spec, init) of what is tried on every teacher
SPECS = (
    ("depth=0.5", "inherit"),
    ("depth=0.5+blocks=scored", "inherit"),
    ("width=0.5", "slice"),
    ("width=0.75", "random"),
    ("depth=0.5+width=0.5", "slice"),
)


def tail(error: BaseException) -> str:
    """The last frames and the message of an error, in one short text."""
    frames = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-6:]]
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {said} <- {' <- '.join(reversed(frames))}"


def plain(pipeline: Any, variant: Variant) -> dict[str, Any]:
    """The pipeline's own arguments for one key, as a user of diffusers alone would give them."""
    parameters = parameters_of(pipeline)
    steps: dict[str, Any] = {"num_inference_steps": 3} if "num_inference_steps" in parameters else {}
    if "generator" in parameters:
        steps["generator"] = torch.Generator().manual_seed(0)
    key = key_arguments(pipeline, [variant.keys[0]], single=isinstance(variant.keys[0], str))
    return {**steps, **variant.call(), **key}


def tried(variant: Variant, folder: Path, rng: Random) -> Found:
    """What became of the variant."""
    found = Found(stage="build")
    try:
        pipeline = variant.build()
        pipeline.set_progress_bar_config(disable=True)
        pipeline(**plain(pipeline, variant))
    except Exception as error:
        return Found("unbuilt", "build", tail(error))
    try:
        for stage, check in _checks(variant, folder, rng, found):
            found.stage = stage
            check()
    except UserError as error:
        found.outcome, found.said = ("crashed" if "\n" in str(error) else "refused"), str(error)
        if found.stage == "record" and not _runs_longer(pipeline, variant):
            found.outcome = "unbuilt"
    except Exception as error:
        found.outcome, found.said = "crashed", tail(error)
    return found


def _runs_longer(pipeline: Any, variant: Variant) -> bool:
    """Whether diffusers itself runs the pipeline with as many steps as a recording watches."""
    try:
        pipeline(**{name: 12 if name == "num_inference_steps" else v for name, v in plain(pipeline, variant).items()})
    except Exception:
        return False
    return True


def _checks(variant: Variant, folder: Path, rng: Random, found: Found) -> Any:
    made: dict[str, Any] = {}

    def record() -> None:
        call = variant.call() or None
        own = None if isinstance(variant.keys[0], str) else list(variant.keys)
        made["teacher"] = Teacher.from_pipeline(variant.build(), variant.component, call=call, keys=own)

    def cache() -> None:
        teacher = made["teacher"]
        steps = {"num_inference_steps": 3} if "num_inference_steps" in parameters_of(teacher.pipeline) else {}
        call = {**steps, **variant.call()}
        made["D"] = generate(teacher, list(variant.keys[:2]), out=folder / "D", call=call, progress=False)

    def run(student: Teacher, place: str, steps: int) -> Any:
        return distill(
            made["teacher"], student, made["D"], corpus=list(variant.keys), p_random=0.5, steps=steps, batch=2,
            out=folder / place, log_every=1, progress=False,
        )  # fmt: skip

    def identity() -> None:
        result = run(made["teacher"].student("depth=1.0"), "same", 1)
        terms = next(row["terms"] for row in result.log if "terms" in row)
        assert all(value == 0.0 for value in terms.values()), f"losses of the identity: {terms}"

    def students() -> None:
        made["students"] = _students(made["teacher"], made["D"], found, rng)

    def train() -> None:
        if made["students"]:
            run(rng.choice(made["students"]), "run", 2)

    def reload() -> None:
        if made["students"]:
            again = DiffusionPipeline.from_pretrained(folder / "run" / "student")
            again.set_progress_bar_config(disable=True)
            again(**plain(again, variant))

    yield "record", record
    yield "encode", lambda: _encoded(made["teacher"], variant)
    yield "cache", cache
    yield "identity", identity
    yield "students", students
    yield "train", train
    yield "reload", reload


@torch.no_grad()
def _encoded(teacher: Teacher, variant: Variant) -> None:
    a, b, c = variant.keys
    x_t, t = _at(teacher)
    before, after = teacher.encode([a, b]), teacher.encode([a, c])
    for path, rows in before.bound.items():
        assert torch.equal(rows, after.bound[path]), f"bound {path} changed with the key"
    first, second = teacher.predict(x_t, t, before), teacher.predict(x_t, t, after)
    _close(first[:1], second[:1], "another row")
    for k, key in enumerate((a, b)):
        alone = teacher.predict(x_t[k : k + 1], t[k : k + 1], teacher.encode([key]))
        _close(first[k : k + 1], alone, "alone and together")


def _close(a: torch.Tensor, b: torch.Tensor, what: str) -> None:
    assert a.shape == b.shape and a.isfinite().all(), f"{what}: {tuple(a.shape)} {tuple(b.shape)}"
    assert (a - b).abs().max() <= CLOSE * b.abs().max() + 1e-6, f"{what}: {(a - b).abs().max():.2g}"


def _at(teacher: Teacher) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(5)
    return torch.randn(2, *teacher.latent_shape, generator=drawn), teacher.noise_path.times(torch.tensor([0.2, 0.9]))


def _students(teacher: Teacher, cache: Any, found: Found, rng: Random) -> list[Teacher]:
    """Those that could be made; what each spec gave goes into `found.students`."""
    specs = [*SPECS]
    if "block_out_channels" in teacher.network.config:  # type: ignore[operator]
        specs = [one for one in specs if "blocks=" not in one[0]]
        specs += [(name, "inherit") for name in PRESETS]
    lists = [path for path, size in lengths(teacher.network).items() if size > 1 and "blocks" in path]
    if lists:
        specs.append((f"keep={rng.choice(lists)}:0", "inherit"))
    made = []
    for spec, init in specs:
        try:
            student = teacher.student(spec, init=init, cache=cache if "scored" in spec else None)
            with torch.no_grad():
                x_t, t = _at(teacher)
                condition = student.encode([*cache_keys(cache)])
                answer = student.predict(x_t, t, condition)
            wanted = teacher.predict(x_t, t, teacher.encode([*cache_keys(cache)]))
            assert answer.shape == wanted.shape and answer.isfinite().all(), "the student's answer"
            found.students[spec] = "ok"
            made.append(student)
        except UserError as error:
            found.students[spec] = f"refused: {error}"
        except Exception as error:
            found.students[spec] = f"crashed: {tail(error)}"
            found.outcome = "crashed"
            found.said = f"{spec}: {tail(error)}"
    return made


def cache_keys(cache: Any) -> list[Any]:
    """The two keys of D."""
    return list(cache.keys[:2])
