"""A pipeline on disk, the same whatever it was used for before, and loaded as one by plain diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.teacher.adapters import without_adapters
from condistill.teacher.running import exchanged, networks

_HALF = ("float16", "bfloat16")


def check_savable(pipeline: Any) -> None:
    """Nothing, where diffusers can save every network of the pipeline: said before a student is trained for it.

    Raises:
        UserError: it cannot; several ControlNets in one have no config, and for those of SD3 and Flux nothing else.
    """
    from diffusers import ModelMixin

    for name, part in networks(pipeline).items():
        cls = type(part)
        is_model = getattr(cls, "save_pretrained", None) is ModelMixin.save_pretrained
        if is_model and not hasattr(cls, "save_config"):
            raise UserError(
                f"diffusers cannot save the {name} of {type(pipeline).__name__} ({cls.__name__} has no config), nor "
                "with it any student; give the pipeline a single one instead"
            )


def save_pipeline(pipeline: Any, folder: str | Path) -> None:
    """The pipeline's folder, its weights as safetensors, adapters (a text encoder's LoRA) merged into them.

    A fast tokenizer writes how it padded and cut last, which every call says anew; that is left out, or two runs with
    the same weights would differ by what their processes have encoded.

    Raises:
        UserError: diffusers cannot save one of its networks.
    """
    check_savable(pipeline)
    for part in pipeline.components.values():
        backend = getattr(part, "backend_tokenizer", None)
        if backend is not None:
            backend.no_padding()
            backend.no_truncation()
    merged = {name: without_adapters(part) for name, part in networks(pipeline).items()}
    merged = {name: part for name, part in merged.items() if part is not getattr(pipeline, name)}
    whole = exchanged(pipeline, merged) if merged else pipeline
    whole.save_pretrained(str(folder), safe_serialization=True)
    _load_in_one_precision(Path(folder))


def _load_in_one_precision(folder: Path) -> None:
    """Text encoders in half precision load in float32 where nothing else is asked for, as diffusers' networks do.

    transformers goes by what a config says instead, and a denoiser in float32 does not take what such an encoder gives.
    """
    for file in folder.glob("*/config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        halves = {name for name in ("dtype", "torch_dtype") if config.get(name) in _HALF}
        if halves:
            text = json.dumps({**config, **dict.fromkeys(halves, "float32")}, indent=2, sort_keys=True)
            file.write_text(text + "\n", encoding="utf-8")
