"""`condistill export`: one format after another the same way: write it, run it, compare it with the pipeline."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from condistill.errors import UserError, brief, unknown_name
from condistill.export.parts import Part, Run, recorded, relative_error, running, seconds
from condistill.files import write_json
from condistill.teacher import Teacher
from condistill.teacher.loading import resolve
from condistill.versions import versions

STEPS = 3  # of the run that is recorded and of the one that is compared
REPORT = "export.json"
SINGLE_FILE = "single-file"


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        home: the module that writes it.
        needs: the libraries, by the name they are imported by.
        tolerance: of the whole run and of every network: the largest difference as a share of the largest value.
        why: where the tolerance comes from.
    """

    home: str
    needs: tuple[str, ...]
    tolerance: float
    why: str


# one float32 rounding is 6e-8; a pass sums up thousands and a run makes several passes
_FLOAT = (2e-3, "float32 in another order of summation, over a few passes")
FORMATS = {
    "onnx": Format("onnx_files", ("onnx", "onnxscript", "onnxruntime"), *_FLOAT),
    "openvino": Format("openvino_files", ("openvino",), *_FLOAT),
    SINGLE_FILE: Format("single_file", (), 0.0, "the same tensors under other names"),
    "torchao-int8": Format("int8", ("torchao",), 0.2, "weights of linear layers in 8 bits, a scale for each row"),
}


@dataclass(frozen=True)
class Compared:
    """One network before and after.

    Attributes:
        name: of the part.
        relative_error: the largest difference as a share of the largest value.
        seconds_before, seconds_after: of one call on this machine.
        any_batch: whether it takes another batch than it was exported with.
    """

    name: str
    relative_error: float
    seconds_before: float
    seconds_after: float
    any_batch: bool


@dataclass(frozen=True)
class Exported:
    """What a format's module gives back: a function for every part, and whether it takes any batch."""

    runs: tuple[Run, ...]
    any_batch: tuple[bool, ...]


def export(pipeline: str | Path, to: str, *, out: str | Path, keys: Sequence[Any] = ()) -> dict[str, Any]:
    """What was written and how it compares with the pipeline; also in export.json beside it.

    Args:
        pipeline: folder, embedded name or hub id, of a teacher or a student.
        to: a format.
        out: a new folder (a file's name for single-file).
        keys: two or more prompts to compare with; the teacher's own examples where none are given.

    Raises:
        UserError: unknown format, no such pipeline, a library that is not installed, a network that the exporter does
            not take, or a difference beyond the tolerance.
    """
    if to not in FORMATS:
        raise unknown_name("format", to, FORMATS)
    resolve(pipeline)
    form = FORMATS[to]
    missing = [name for name in form.needs if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--to {to} needs {', '.join(missing)}; install it: pip install 'condistill[export]'")
    home = importlib.import_module(f"condistill.export.{form.home}")
    if to == SINGLE_FILE:
        return home.export_file(pipeline, out)
    teacher = Teacher.load(pipeline, device="cpu")
    chosen = list(keys) or list(teacher.calibration.keys)
    parts = _parts(teacher, chosen[:2])
    before = [seconds(part.run(), part.tensors) for part in parts]
    made: Exported = home.write(teacher, parts, Path(out))
    compared = _compared(parts, made, before)
    whole = _whole(teacher, chosen, parts, made)
    found = {
        "format": to,
        "folder": str(out),
        "tolerance": {"relative_error": form.tolerance, "because": form.why},
        "parts": [asdict(one) for one in compared],
        "run": {"steps": STEPS, "relative_error": whole},
        "versions": {**versions(), **_library_versions(form.needs)},
    }
    write_json(Path(out) / REPORT, found)
    worst = max([whole, *(one.relative_error for one in compared)])
    if not worst <= form.tolerance:
        raise UserError(
            f"the export differs from the pipeline by {worst:.3g} of the largest value, more than the "
            f"{form.tolerance:g} allowed; {out} is kept to look at, do not use it"
        )
    return found


def default_place(pipeline: str | Path, to: str) -> Path:
    """Beside the pipeline's folder, or in the current one: NAME-FORMAT, with the ending of a file for one file.

    >>> default_place("runs/demo/student", "onnx").name, default_place("emoji", "single-file").name
    ('student-onnx', 'emoji.safetensors')
    """
    path = Path(pipeline).expanduser()
    name = path.name + (".safetensors" if to == SINGLE_FILE else f"-{to}")
    return path.with_name(name) if path.is_dir() else Path(name)


def lines(found: dict[str, Any]) -> list[str]:
    """What was found, for people."""
    if found["format"] == SINGLE_FILE:
        return importlib.import_module(f"condistill.export.{FORMATS[SINGLE_FILE].home}").lines(found)
    head = [f"{found['folder']}: {found['format']}, relative error of a run {found['run']['relative_error']:.2g}"]
    return head + [
        f"  {one['name']:<18} error {one['relative_error']:.2g}  {1000 * one['seconds_before']:.1f} ms -> "
        f"{1000 * one['seconds_after']:.1f} ms" + ("" if one["any_batch"] else "  batch of the export only")
        for one in found["parts"]
    ]


@torch.no_grad()
def _parts(teacher: Teacher, keys: Sequence[Any]) -> list[Part]:
    for module in teacher.pipeline.components.values():
        if isinstance(module, torch.nn.Module):
            module.eval()
    return recorded(teacher.pipeline, lambda: _sampled(teacher, keys))


def _sampled(teacher: Teacher, keys: Sequence[Any]) -> list[torch.Tensor]:
    made = teacher.sample(keys, seed=0, call={"num_inference_steps": STEPS}, output="both")
    images = [] if made.images is None else [torch.as_tensor(made.images)]
    return [made.latents, *images]


@torch.no_grad()
def _compared(parts: Sequence[Part], made: Exported, before: Sequence[float]) -> list[Compared]:
    found = []
    for part, run, was, any_batch in zip(parts, made.runs, before, made.any_batch, strict=True):
        error = relative_error(run(part.tensors), part.outputs)
        found.append(Compared(part.name, error, was, seconds(run, part.tensors), any_batch))
    return found


@torch.no_grad()
def _whole(teacher: Teacher, keys: Sequence[Any], parts: Sequence[Part], made: Exported) -> float:
    """The error of a run of the pipeline with the exported networks; one item where they take any batch."""
    keys = list(keys[:1]) if all(made.any_batch) else list(keys[:2])
    wanted = _sampled(teacher, keys)
    with running(parts, made.runs):
        return relative_error(_sampled(teacher, keys), wanted)


def _library_versions(names: Sequence[str]) -> dict[str, str]:
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in names}


def refused(part: Part, engine: str, error: Exception) -> UserError:
    """The error for a network that an exporter does not take."""
    said = brief(error)
    return UserError(f"{engine} does not take {part.name} ({type(part.module).__name__}): {said}")
