"""A student by itself: shown from the teacher's config alone, or cut and saved, not trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condistill import hub
from condistill.errors import UserError, nearest, unknown_name
from condistill.recipes.folders import new_folder

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


def inspected(
    teacher: str | Path, spec: str | None = None, *, init: str = "inherit"
) -> tuple[dict[str, Any], list[str]]:
    """What a student would keep of a teacher, or the teacher's own size, as JSON values and as lines.

    Raises:
        UserError: no such teacher or spec.
    """
    from condistill.students import check_spec, count_macs, count_parameters, inspect, make_plan
    from condistill.students.presets import refuse_blocks
    from condistill.students.unet import is_unet

    cut = check_spec(spec) if spec is not None else None
    cls, config = teacher_config(teacher)
    if cut is not None and is_unet(config):
        refuse_blocks(cut, cls.__name__)
    if spec is None:
        parameters, macs = count_parameters(cls, config), count_macs(cls, config)
        sizes = {"network": cls.__name__, "parameters": parameters, "macs": macs, "config": config}
        return sizes, [f"{cls.__name__}: {parameters:,} parameters, {_macs(macs)}"]
    found = inspect(make_plan(config, cls, spec, init=init))
    was, now = found.parameters["teacher"], found.parameters["student"]
    head = [
        f"{found.network}, {found.spec}, weights: {found.init}",
        f"parameters  {was:,} -> {now:,} ({100 * now / was:.0f} %)",
        f"MACs        {_macs(found.macs['teacher'])} -> {_macs(found.macs['student'])}",
        "tensors     " + ", ".join(f"{count} {kind}" for kind, count in found.origins.items()),
        "",
    ]
    notes = [f"note: {note}" for note in found.notes]
    return found.as_dict(), [*head, *found.lines(), *([""] if notes else []), *notes]


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
