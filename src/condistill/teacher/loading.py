"""Finding and loading a pipeline: embedded name, folder, hub id."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill import hub, processes
from condistill.errors import UserError, brief, nearest
from condistill.files import read_json, tensor_names
from condistill.teacher.faults import fault_of

if TYPE_CHECKING:
    from condistill.maths.randomise import Key
    from condistill.teacher.teacher import Teacher

# embedded teachers: name -> function that returns their pipeline folder
EMBEDDED = {"emoji": "condistill.world.emoji:folder", "tones": "condistill.world.tones:folder"}


def embedded(name: str) -> Path | None:
    """The folder of an embedded teacher, or None if there is none of that name."""
    if name not in EMBEDDED:
        return None
    module, _, function = EMBEDDED[name].partition(":")
    return getattr(importlib.import_module(module), function)()


def refuse_run(folder: Path) -> None:
    """Nothing, if `folder` holds no run.

    Raises:
        UserError: it does, and where in it a pipeline is.
    """
    student = folder / "student"
    if (student / "model_index.json").is_file():
        raise UserError(f"{folder} is a run folder; a pipeline is wanted, such as its student: {student}")


def resolve(name: str | Path) -> Path | str:
    """The pipeline folder that `name` means, or the hub id itself.

    Raises:
        UserError: a folder that does not exist or is no pipeline.
    """
    found = embedded(str(name))
    if found is not None:
        return found
    path = Path(name).expanduser()
    if path.is_dir():
        if (path / "model_index.json").is_file():
            return path
        refuse_run(path)
        raise UserError(f"{path} is no pipeline folder: it has no model_index.json; save one with save_pretrained")
    text = str(name)
    if path.is_file():
        raise UserError(f"{path} is a file; a pipeline folder (with model_index.json) is wanted")
    is_hub_id = text.count("/") == 1 and not text.startswith((".", "/", "~")) and not path.parent.is_dir()
    if is_hub_id:
        return text
    guess = nearest(text, EMBEDDED)
    hint = f"did you mean {guess!r}? " if guess else ""
    raise UserError(
        f"no such pipeline folder: {text}; {hint}give a folder, a hub id (owner/name) or {', '.join(EMBEDDED)}"
    )


def is_component(name: str | Path) -> bool:
    """Whether `name` is a network's config.json, or its folder beside the rest of a pipeline: no pipeline by itself."""
    path = Path(name).expanduser()
    if path.is_dir():
        return (path / "config.json").is_file() and not (path / "model_index.json").is_file()
    return path.is_file() and path.suffix == ".json"


def has_weights(folder: Path) -> bool:
    """Whether any file of weights lies in a pipeline's folder, readable or not."""
    return any(path.suffix in (".safetensors", ".bin", ".ckpt", ".pt") for path in folder.rglob("*"))


def load_for(
    name: str | Path,
    call: Mapping[str, Any] | None,
    keys: Sequence[Key] = (),
    *,
    component: str | None = None,
    **kwargs: Any,
) -> Teacher:
    """The teacher, recorded at once as this call and such keys want it.

    Args:
        name, component, kwargs: as for `Teacher.load`.
        call: the pipeline's own arguments.
        keys: some of those that will be encoded.
    """
    from condistill.teacher.failing import NotRun
    from condistill.teacher.keys import examples_among
    from condistill.teacher.teacher import Teacher

    pipeline = load_pipeline(name, **kwargs)
    try:
        found = Teacher.from_pipeline(pipeline, component, call=call)
    except NotRun:  # it needs what only the keys bring: a picture beside the prompt
        found = Teacher.from_pipeline(pipeline, component, call=call, keys=examples_among(keys))
    return found.with_call(call, keys)


def load_pipeline(name: str | Path, *, device: str | None = None, **kwargs: Any) -> Any:
    """A diffusers pipeline, ready on `device` (a GPU if there is one).

    Args:
        kwargs: passed to `DiffusionPipeline.from_pretrained`. `use_safetensors` is True unless given.

    Raises:
        UserError: nothing there, no pipeline, damaged or pickled weights, the hub out of reach.
    """
    import torch
    from diffusers import DiffusionPipeline

    processes.check_engine()
    where = resolve(name)
    kwargs.setdefault("use_safetensors", True)
    # diffusers renamed torch_dtype to dtype in 0.36; its old name still works with a warning
    kwargs["dtype"] = kwargs.pop("torch_dtype", kwargs.get("dtype", torch.float32))
    why = hub.silent() if isinstance(where, str) else ""
    if why:
        kwargs.setdefault("local_files_only", True)  # what was fetched before
    if isinstance(where, Path):
        _check_class(where)
    try:
        pipeline = DiffusionPipeline.from_pretrained(str(where), **kwargs)
        if isinstance(where, Path):
            _check_parts(where, pipeline, kwargs)
        _check_weights(pipeline)
        return pipeline.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except UserError:
        raise
    except (OSError, ValueError, LookupError, AttributeError, RuntimeError, TypeError, ArithmeticError) as error:
        if isinstance(where, Path) and (fault := fault_of(where, kwargs)):
            raise UserError(f"could not load a pipeline: {fault}") from error
        raise UserError(f"could not load a pipeline from {name}: {why or brief(error)}{_advice(where)}") from error


def _check_class(folder: Path) -> None:
    """Nothing, if the folder's index names a pipeline class."""
    index = read_json(folder / "model_index.json")
    if not isinstance(index, Mapping) or not isinstance(index.get("_class_name"), str | list):
        raise UserError(f"{folder}/model_index.json names no pipeline class; save the pipeline again")


def _without_folder(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of the names under which the index lists a part that the folder does not hold."""
    listed = {name: kind for name, kind in read_json(folder / "model_index.json").items() if isinstance(kind, list)}
    return [name for name in names if None not in listed.get(name, [None]) and not (folder / name).is_dir()]


def _check_parts(folder: Path, pipeline: Any, given: Mapping[str, Any]) -> None:
    """Nothing, if every part came from files: a tokenizer without its folder loads, and is empty."""
    loaded = (name for name, part in pipeline.components.items() if part is not None and name not in given)
    missing = _without_folder(folder, loaded)
    if missing:
        raise UserError(
            f"{folder} has no folder {missing[0]}, which its model_index.json names; fetch or save it again"
        )


def _check_weights(pipeline: Any) -> None:
    """Nothing, if every tensor of the pipeline's networks got a value from its files."""
    from torch import nn

    for part, network in pipeline.components.items():
        if isinstance(network, nn.Module):
            name = next((name for name, value in network.named_parameters() if value.is_meta), None)
            if name:
                raise UserError(f"the files of {part} hold no tensor {name!r}; fetch or save them again")


def _advice(where: Path | str) -> str:
    if isinstance(where, str):
        return "; check the id and the connection, or give a local folder"
    if any(where.rglob("*.bin")) or any(where.rglob("*.ckpt")):
        return "; pickled weights are refused: save the pipeline as safetensors"
    for file in sorted(where.rglob("*.safetensors")):
        try:
            tensor_names(file)
        except UserError as error:
            return f"; {error}: fetch or save it again"
    missing = _without_folder(where, read_json(where / "model_index.json"))
    return f"; it has no folder {missing[0]}" if missing else "; the folder may be incomplete"
