"""Versions of what decides the numbers: written into every cache, run and result."""

from __future__ import annotations

import importlib.metadata
import platform

LIBRARIES = ("condistill", "torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy")


def versions() -> dict[str, str]:
    """Name -> version of python and of the LIBRARIES that are installed.

    >>> sorted(versions())[0]
    'accelerate'
    """
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
