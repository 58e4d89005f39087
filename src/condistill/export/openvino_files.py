"""OpenVINO's intermediate representation, by its own converter from torch."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condistill.export.exporting import Exported, refused
from condistill.export.parts import Part, Run
from condistill.recipes.folders import new_folder


def write(teacher: Any, parts: Sequence[Part], out: Path) -> Exported:
    """NAME/openvino_model.xml and .bin for every part.

    Raises:
        UserError: the folder is not new, or a network is not taken.
    """
    openvino = _openvino()

    new_folder(out)
    runs, free = [], []
    for part in parts:
        file = out / part.name / "openvino_model.xml"
        file.parent.mkdir(parents=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch's tracer, about every shape that a network looks at
                model = openvino.convert_model(part.flat().eval(), example_input=part.tensors)
        except (openvino.frontend.OpConversionFailure, RuntimeError, TypeError, ValueError) as error:
            raise refused(part, "OpenVINO", error) from error
        # it would halve the precision of weights unless told
        openvino.save_model(model, str(file), compress_to_fp16=False)
        run, any_batch = _compiled(file)
        runs.append(run)
        free.append(any_batch)
    return Exported(tuple(runs), tuple(free))


def _openvino() -> Any:
    """The library without the package by which its converter tells its maker that it is used.

    That forks this process to reach the network, and where there is none the copy outlives us and holds our output open
    (openvino 2026.4); the library has a stub for where the package is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def _compiled(file: Path) -> tuple[Run, bool]:
    openvino = _openvino()

    core = openvino.Core()
    model = core.read_model(str(file))
    # compared in float32: by itself it computes in 16 bits where the processor has them
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    shapes = [one.get_partial_shape() for one in model.inputs]
    any_batch = all(shape[0].is_dynamic for shape in shapes if len(shape))

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        found = compiled([tensor.numpy() for tensor in tensors])
        return [torch.from_numpy(found[k].copy()) for k in range(len(model.outputs))]

    return run, any_batch
