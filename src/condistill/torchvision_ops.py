"""Lets torchvision be imported where its compiled part does not fit torch.

The wheel of torchvision on PyPI is built against CUDA. Beside the CPU build of torch its compiled part does not load,
and then `import torchvision` itself fails ("operator torchvision::nms does not exist"), because it describes two
operators that nobody has defined. transformers, torch-fidelity and open_clip import it for what needs no operator.

Upstream: https://github.com/pytorch/vision/issues/9085. Delete this module once the torchvision of constraints.txt can
be imported beside the CPU build of torch: its test then fails and says so.

>>> define_missing_ops() is define_missing_ops()  # once per process
True
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import sys

import torch

_DETECTION = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@functools.cache
def define_missing_ops() -> torch.library.Library | None:
    """The definitions that let torchvision be imported; None where nothing is missing. To be called before the import.

    The operators get a signature and no kernel: torchvision goes on saying that they are not available, and all of it
    that needs none works.
    """
    package = importlib.util.find_spec("torchvision")
    if package is None or "torchvision" in sys.modules:
        return None
    compiled = importlib.machinery.PathFinder.find_spec("_C", list(package.submodule_search_locations or ()))
    if compiled is not None and compiled.origin is not None:
        try:
            torch.ops.load_library(compiled.origin)  # what torchvision does; twice is once
            return None
        except OSError:
            pass
    library = torch.library.Library("torchvision", "DEF")  # undefined again when this object goes
    for name in ("nms", "qnms"):
        library.define(name + _DETECTION)
    return library
