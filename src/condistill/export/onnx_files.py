"""ONNX files by torch's own exporter, run by onnxruntime.

optimum-onnx, which would be the usual way, does not install beside the transformers that this package is tested with
(release 0.1.0), and knows pipelines by name; torch.onnx exports whatever network is called.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condistill.export.exporting import Exported, refused
from condistill.export.parts import Part, Run
from condistill.recipes.folders import new_folder


def write(teacher: Any, parts: Sequence[Part], out: Path) -> Exported:
    """NAME/model.onnx for every part, and the rest of the pipeline's folder.

    Raises:
        UserError: the folder is not new, or a network is not taken.
    """
    new_folder(out)
    runs, free = [], []
    for part in parts:
        file = out / part.name / "model.onnx"
        file.parent.mkdir(parents=True)
        _export(part, file)
        run, any_batch = _session(part, file)
        runs.append(run)
        free.append(any_batch)
    return Exported(tuple(runs), tuple(free))


def _export(part: Part, file: Path) -> None:
    # the first dimension is the batch wherever torch.export finds that it may vary
    auto = torch.export.Dim.AUTO
    shapes = tuple({0: auto} if tensor.ndim else None for tensor in part.tensors)
    try:
        with _quiet():
            torch.onnx.export(
                part.flat().eval(), part.tensors, str(file), input_names=part.input_names,
                output_names=part.output_names, dynamo=True, dynamic_shapes={"tensors": shapes}, verbose=False,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        raise refused(part, "torch.onnx", error) from error


def _session(part: Part, file: Path) -> tuple[Run, bool]:
    onnxruntime = import_module("onnxruntime")

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    # an argument that changes nothing is no input of the graph
    places = {f"input_{k}": k for k in range(len(part.tensors))}
    inputs = [(one.name, places[one.name]) for one in session.get_inputs()]
    any_batch = all(isinstance(one.shape[0], str) for one in session.get_inputs() if one.shape)

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        found = session.run(None, {name: tensors[place].numpy() for name, place in inputs})
        return [torch.from_numpy(one) for one in found]

    return run, any_batch


@contextmanager
def _quiet() -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
