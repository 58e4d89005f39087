"""A student by itself: shown from the teacher's config alone, or cut and saved, not trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill import hub
from condistill.errors import UserError, nearest, unknown_name
from condistill.recipes.folders import new_folder

if TYPE_CHECKING:
    from condistill.students import StudentPlan

INITS = ("inherit", "slice", "random")


def teacher_config(teacher: str | Path) -> tuple[type, dict[str, Any]]:
    """(class, config) of a teacher's denoiser; no weights are read.

    Args:
        teacher: embedded name, shipped config ("sd-v1-4"), pipeline folder, component folder or hub id.

    Raises:
        UserError: nothing there, or no config of a network in it.
    """
    from condistill.students import load_config, shipped_configs
    from condistill.teacher.loading import EMBEDDED, embedded, resolve

    path, name = Path(teacher).expanduser(), str(teacher)
    found = embedded(name)
    if found is not None or path.exists() or name in shipped_configs():
        return load_config(found or teacher)
    known = [*EMBEDDED, *shipped_configs()]
    guess = nearest(name, known)
    if guess or "/" not in name:
        hint = f"did you mean {guess!r}? " if guess else ""
        raise UserError(f"no such teacher: {name}; {hint}give a folder, a hub id (owner/name) or {', '.join(known)}")
    return load_config(_from_hub(str(resolve(teacher))))


def _from_hub(name: str) -> str:
    """The file of the denoiser's config, alone, from the hub or its local copy."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
    )

    why = hub.silent()
    for component in ("unet", "transformer", "prior", "decoder"):
        try:
            return hf_hub_download(name, f"{component}/config.json", local_files_only=bool(why))
        except LocalEntryNotFoundError:
            if not why:
                break
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError, ValueError):
            break
    raise UserError(
        f"no denoiser's config of {name} could be had from the hub ({why or 'it gave none'}); check the connection and "
        "the id, or give a folder"
    )


@dataclass(frozen=True)
class Asked:
    """A teacher that is looked at by its configs.

    Attributes:
        cls, config: of its denoiser.
        inputs: the denoiser's arguments for one item as its pipeline gives them; None where there is no pipeline.
        notes: why there are none though there is a pipeline.
    """

    cls: type
    config: dict[str, Any]
    inputs: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()


def asked(teacher: str | Path) -> Asked:
    """The teacher's denoiser, and what its pipeline calls it with where its folder is here; no weights are read.

    Raises:
        UserError: nothing there, or no config of a network in it.
    """
    from condistill.teacher.loading import embedded

    folder, why = Path(embedded(str(teacher)) or teacher).expanduser(), ()
    if (folder / "model_index.json").is_file():
        from condistill.students.by_configs import recorded_by_configs

        try:
            found = recorded_by_configs(folder)
            return Asked(found.cls, found.config, found.inputs)
        except UserError as error:
            why = (f"counted without its pipeline: {error}",)
    return Asked(*teacher_config(teacher), None, why)


def inspected(
    teacher: str | Path, spec: str | None = None, *, init: str = "inherit"
) -> tuple[dict[str, Any], list[str]]:
    """What a student would keep of a teacher, or the teacher's own size, as JSON values and as lines.

    Raises:
        UserError: no such teacher or spec.
    """
    from condistill.students import check_spec, inspect
    from condistill.students.presets import refuse_blocks
    from condistill.students.unet import is_unet

    cut = check_spec(spec) if spec is not None else None
    if cut is not None and is_unet((about := teacher_config(teacher))[1]):
        refuse_blocks(cut, about[0].__name__)
    found = asked(teacher)
    if spec is None:
        return _size(found)
    plan, found = _planned(found, spec, init)
    seen = inspect(plan)
    was, now = seen.parameters["teacher"], seen.parameters["student"]
    shapes, notes = _counted_with(found), (*found.notes, *seen.notes)
    head = [
        f"{seen.network}, {seen.spec}, weights: {seen.init}",
        f"parameters  {was:,} -> {now:,} ({100 * now / was:.0f} %)",
        f"MACs        {_macs(seen.macs['teacher'])} -> {_macs(seen.macs['student'])}",
        *([f"counted for {_shown(shapes)}"] if seen.macs["teacher"] else []),
        "tensors     " + ", ".join(f"{count} {kind}" for kind, count in seen.origins.items()),
        "",
    ]
    said = [f"note: {note}" for note in notes]
    values = seen.as_dict() | {"notes": list(notes), "counted_for": shapes if seen.macs["teacher"] else None}
    return values, [*head, *seen.lines(), *([""] if said else []), *said]


def _size(found: Asked) -> tuple[dict[str, Any], list[str]]:
    """The size of a teacher's denoiser."""
    from condistill.students import count_macs, count_parameters

    cls, config = found.cls, found.config
    parameters, macs = count_parameters(cls, config), count_macs(cls, config, inputs=found.inputs)
    sizes: dict[str, Any] = {"network": cls.__name__, "parameters": parameters, "macs": macs, "config": config}
    lines = [f"{cls.__name__}: {parameters:,} parameters, {_macs(macs)}"]
    if macs is not None:
        sizes["counted_for"] = _counted_with(found)
        lines.append(f"counted for {_shown(sizes['counted_for'])}")
    return sizes, [*lines, *(f"note: {note}" for note in found.notes)]


def _planned(found: Asked, spec: str, init: str) -> tuple[StudentPlan, Asked]:
    """The plan, made without the pipeline's arguments where a student of this spec is given others."""
    from condistill.students import make_plan
    from condistill.students.planning import DoesNotRun

    try:
        return make_plan(found.config, found.cls, spec, init=init, inputs=found.inputs), found
    except DoesNotRun as error:
        if found.inputs is None:
            raise
        alone = replace(found, inputs=None, notes=(f"the pipeline gives a student other arguments: {error}",))
        return make_plan(found.config, found.cls, spec, init=init), alone


def _counted_with(found: Asked) -> dict[str, tuple[int, ...]]:
    from condistill.students.by_configs import shapes_of
    from condistill.students.likely import inputs_of
    from condistill.students.meta import on_meta

    inputs = found.inputs
    return shapes_of(inputs_of(on_meta(found.cls, found.config)) if inputs is None else inputs)


def _shown(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The larger arguments of a pass; times and masks have few axes."""
    large = {name: shape for name, shape in shapes.items() if len(shape) > 2} or shapes
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in large.items())


def _macs(macs: Any) -> str:
    if macs is None:
        return "not counted"
    return f"{macs['conv_linear'] / 1e9:.4g} G conv+linear, {macs['total'] / 1e9:.4g} G in all"


def student_folder(
    teacher: str | Path,
    spec: str,
    *,
    out: str | Path,
    init: str = "inherit",
    seed: int = 0,
    cache: str | Path | None = None,
    lora: str | Path | None = None,
) -> dict[str, Any]:
    """The folder, spec, init and number of parameters of a student that was cut from `teacher` and saved in `out`.

    Args:
        teacher: folder, embedded name or hub id.
        spec: of the student.
        out: a new folder.
        init, seed: of the weights.
        cache: the teacher's D, for a spec that measures it (blocks=scored).
        lora: a LoRA of the teacher; what of it fits the student is written to lora/ in the folder.

    Raises:
        UserError: the folder is not empty; no such teacher, preset, init, D or LoRA.
    """
    from condistill.cache import Cache
    from condistill.students import check_spec
    from condistill.students.lora import lora_file
    from condistill.teacher import Teacher

    if init not in INITS:
        raise unknown_name("init", init, INITS)
    check_spec(spec)
    file = lora_file(lora) if lora is not None else None
    out = new_folder(out)
    loaded = Teacher.load(teacher)
    found = Cache.open(cache, teacher_hash=loaded.hash) if cache is not None else None
    made = loaded.student(spec, init=init, seed=seed, cache=found)
    carried = _carried(file, loaded, made) if file is not None else None
    made.save(out)
    parameters = sum(p.numel() for p in made.network.parameters())
    assert made.plan is not None
    result = {"folder": out, "spec": made.plan.spec, "init": init, "parameters": parameters}
    return result if carried is None else {**result, "lora": _lora_folder(out / "lora", *carried)}


def _carried(file: Path, teacher: Any, student: Any) -> tuple[dict[str, Any], dict[str, str]]:
    from condistill.students.lora import carry_lora, read_lora

    state = read_lora(file, teacher.pipeline, teacher.network)
    return carry_lora(state, student.plan, component=teacher.component)


def _lora_folder(folder: Path, state: Mapping[str, Any], dropped: Mapping[str, str]) -> dict[str, Any]:
    from condistill.files import save_tensors
    from condistill.students.lora import WEIGHTS

    save_tensors(folder / WEIGHTS, state, {"format": "pt"})
    return {"folder": folder, "tensors": len(state), "dropped": dict(dropped)}
