"""The denoiser's linear layers with weights in 8 bits, by torchao.

diffusers 0.42 does not save such a network (it asks torchao 0.18 for tensors that are no more), so the weights are
written by torchao's own flattening, and `load` puts them back.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from condistill.errors import UserError
from condistill.export.exporting import Exported
from condistill.export.parts import Part
from condistill.files import atomic, load_tensors
from condistill.recipes.folders import new_folder

WEIGHTS = "int8.safetensors"
FLATTENING = "torchao.prototype.safetensors.safetensors_support"


def write(teacher: Any, parts: Sequence[Part], out: Path) -> Exported:
    """The pipeline's folder, its denoiser's weights replaced by int8.safetensors.

    Raises:
        UserError: the folder is not new, or there is no linear layer.
    """
    quantization = import_module("torchao.quantization")

    new_folder(out)
    network = teacher.network
    if not any(isinstance(one, nn.Linear) for one in network.modules()):
        raise UserError(f"{type(network).__name__} has no linear layer whose weights torchao could quantise")
    reduced = copy.deepcopy(network)
    quantization.quantize_(reduced, quantization.Int8WeightOnlyConfig())
    teacher.save(out)
    for file in (out / teacher.component).glob("*.safetensors*"):
        file.unlink()
    _save(reduced, out / teacher.component / WEIGHTS)
    loaded = load(out, teacher.component)
    runs = tuple(part.run(loaded if part.module is network else None) for part in parts)
    return Exported(runs, (True,) * len(parts))


def _save(network: nn.Module, file: Path) -> None:
    from safetensors.torch import save_file

    flatten_tensor_state_dict = import_module(FLATTENING).flatten_tensor_state_dict

    tensors, about = flatten_tensor_state_dict(network.state_dict())
    with atomic(file) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, about)


def load(folder: str | Path, component: str) -> nn.Module:
    """The denoiser with 8-bit weights; give it to the pipeline: DiffusionPipeline.from_pretrained(folder, unet=...).

    Raises:
        UserError: no such export.
    """
    unflatten_tensor_state_dict = import_module(FLATTENING).unflatten_tensor_state_dict

    from condistill.students.meta import on_meta
    from condistill.students.shipped import load_config

    cls, config = load_config(Path(folder) / component)
    tensors, about = load_tensors(Path(folder) / component / WEIGHTS)
    found = unflatten_tensor_state_dict(tensors, about)
    state = found[0] if isinstance(found, tuple) else found
    network = on_meta(cls, config)
    network.load_state_dict(state, assign=True)
    return network.eval()
