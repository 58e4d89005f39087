"""A pipeline on disk, the same whatever it was used for before."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_pipeline(pipeline: Any, folder: str | Path) -> None:
    """The pipeline's folder, its weights as safetensors.

    A fast tokenizer writes how it padded and cut last, which every call says anew; that is left out, or two runs with
    the same weights would differ by what their processes have encoded.
    """
    for part in pipeline.components.values():
        backend = getattr(part, "backend_tokenizer", None)
        if backend is not None:
            backend.no_padding()
            backend.no_truncation()
    pipeline.save_pretrained(str(folder), safe_serialization=True)
