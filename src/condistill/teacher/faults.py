"""What is wrong with a pipeline's folder that diffusers could not load, by its own files: one line."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from condistill.errors import UserError, nearest
from condistill.files import read_json

MOST = 2**32 - 1  # the largest number that the tokenizers' libraries hold
INDEX = "model_index.json"


def fault_of(folder: Path, given: Collection[str] = ()) -> str | None:
    """What is wrong with a folder that did not load; None where its files do not say.

    Args:
        folder: with model_index.json.
        given: arguments of `from_pretrained`: parts that were handed over, a pipeline's class of one's own.
    """
    try:
        index = read_json(folder / INDEX)
    except UserError as error:
        return str(error)
    if not isinstance(index, Mapping):
        return None
    parts = {name: one for name, one in index.items() if not name.startswith("_") and name not in given}
    own_class = None if "custom_pipeline" in given else index.get("_class_name")
    return _class_fault(folder, own_class, parts, given) or _part_fault(folder, parts) or _tokenizer_fault(folder)


def _class_fault(folder: Path, name: Any, parts: Mapping[str, Any], given: Collection[str]) -> str | None:
    """Of the pipeline's class: not known, or without a part that it needs."""
    import diffusers

    if not isinstance(name, str):
        return None
    cls = getattr(diffusers, name, None)
    if cls is None:
        known = [one for one in dir(diffusers) if one.endswith("Pipeline")]
        return f"{folder}/{INDEX} names the pipeline {name!r}, which diffusers has not{_guess(name, known)}"
    if not (isinstance(cls, type) and issubclass(cls, diffusers.DiffusionPipeline)):
        return f"{folder}/{INDEX} names {name!r} as its pipeline, which is none; write the class of the pipeline there"
    needed, _ = cls._get_signature_keys(cls)
    for part in sorted(set(needed) - set(cls._optional_components) - set(given)):
        said = parts.get(part, [None])
        if said is None or (isinstance(said, list) and None in said):
            had = "null" if part in parts else "nothing"
            return f"{folder}/{INDEX} has {had} for {part}, which {name} needs; save the pipeline again with its {part}"
    return None


def _part_fault(folder: Path, parts: Mapping[str, Any]) -> str | None:
    """Of the class of a part."""
    import diffusers

    for part, said in parts.items():
        if not isinstance(said, list) or None in said:
            continue
        where = f"{folder}/{INDEX} has {said!r} for {part}"
        if len(said) != 2 or not all(isinstance(one, str) for one in said):
            return f"{where}; a pair of library and class is wanted: save the pipeline again"
        library, name = said
        if library not in ("diffusers", "transformers"):
            is_known = hasattr(diffusers.pipelines, library) or (folder / part / f"{library}.py").is_file()
            if is_known or (folder / f"{library}.py").is_file():
                continue
            return f"{where}; diffusers loads no parts from {library!r}: make the part yourself and give it as {part}="
        module = importlib.import_module(library)
        if getattr(module, name, None) is None:
            return f"{where}, and {library} has no {name!r}{_guess(name, dir(module))}"
    return None


def _guess(name: str, known: Collection[str]) -> str:
    guess = nearest(name, known)
    return f"; did you mean {guess!r}? update the library, or correct the file" if guess else "; update the library"


def _tokenizer_fault(folder: Path) -> str | None:
    """Of a vocabulary whose numbers no library holds."""
    for file in sorted([*folder.glob("*/tokenizer.json"), *folder.glob("*/vocab.json")]):
        said = read_json(file)
        model = said.get("model", said) if isinstance(said, Mapping) else {}
        words = model.get("vocab", said) if isinstance(model, Mapping) else {}
        for word, number in words.items() if isinstance(words, Mapping) else ():
            if isinstance(number, int) and not 0 <= number <= MOST:
                wanted = f"a number from 0 to {MOST} is wanted; fetch the tokenizer again"
                return f"{file} gives the word {str(word)[:40]!r} the number {number}; {wanted}"
    return None
