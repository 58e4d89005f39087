"""A teacher's LoRA on its student: the adapters of the layers that stay, under their new names, narrowed with them."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from condistill.errors import UserError, brief
from condistill.files import load_tensors
from condistill.students.inherit import origins, taken
from condistill.students.meta import on_meta, shapes
from condistill.students.plan import Origin, StudentPlan
from condistill.students.unet import is_unet

WEIGHTS = "pytorch_lora_weights.safetensors"  # the name that diffusers looks for
_METADATA = "lora_adapter_metadata"
# parts of a pipeline besides the denoiser that LoRAs have entries for
_OTHERS = re.compile(r"(?:text_encoder|transformer|unet|connectors)(?:_\d+)?\..+")
_LEAF = re.compile(r"(.+?)\.(lora_[A-Za-z_]+(?:\..+)?)")
_UP = re.compile(r"lora(?:_B|\.up|_linear_layer\.up)\.")
_MARK = re.compile(r"[._]lora")  # before it stands the layer, whatever the names' style


def lora_file(path: str | Path) -> Path:
    """The path, if a LoRA can be read from it.

    Raises:
        UserError: no such file, not safetensors, or peft is not installed.
    """
    path = Path(path).expanduser()
    if find_spec("peft") is None:
        raise UserError("carrying a LoRA over needs peft, which is not installed; pip install condistill[lora]")
    if not path.is_file():
        raise UserError(f"no such file: {path}; a LoRA as one safetensors file is wanted")
    if path.suffix != ".safetensors":
        raise UserError(
            f"{path} is no safetensors file; pickled weights can run code and are refused: convert the LoRA first"
        )
    return path


def read_lora(path: str | Path, pipeline: Any, network: Any) -> dict[str, Tensor]:
    """The LoRA in the file by diffusers' names, each adapter's scale multiplied into its second matrix.

    Args:
        path: safetensors; diffusers' or peft's names, and others as far as the pipeline's own loader converts them.
        pipeline: the teacher's.
        network: its denoiser.

    Raises:
        UserError: not readable, or no LoRA of such a pipeline.
    """
    loader = getattr(type(pipeline), "lora_state_dict", None)
    if loader is None:
        raise UserError(f"{type(pipeline).__name__} loads no LoRAs in diffusers; leave the LoRA out")
    tensors, metadata = load_tensors(lora_file(path))
    options: dict[str, Any] = {"return_alphas": True} if "return_alphas" in inspect.signature(loader).parameters else {}
    if is_unet(network.config):
        options["unet_config"] = network.config
    try:
        found = loader(dict(tensors), **options)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        reason = brief(error)
        raise UserError(f"{path} is no LoRA that {type(pipeline).__name__} reads: {reason}") from error
    state, alphas = (found[0], found[1] or {}) if isinstance(found, tuple) else (found, {})
    adapters = json.loads(metadata.get(_METADATA, "{}"))
    return _scaled(state, alphas, adapters)


def carry_lora(
    state: Mapping[str, Tensor], plan: StudentPlan, *, component: str = ""
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(the LoRA for the student, teacher's layer -> why its adapter could not be carried over).

        student's W' = W[o, i]:  A' = A[:, i],  B' = B[o],  so B' A' = (B A)[o, i]

    Args:
        state: by diffusers' names, "unet.down_blocks.0...to_q.lora_A.weight"; entries of other components stay as
            they are.
        plan: of the student.
        component: the denoiser's name in the LoRA; unet or transformer by the plan's config if not given.

    Raises:
        UserError: not one adapter of the denoiser fits the student.

    >>> import torch
    >>> from condistill.students import load_config, make_plan
    >>> cls, config = load_config("sd-v1-4")
    >>> layer = "up_blocks.1.attentions.{}.transformer_blocks.0.attn1.to_q"
    >>> state = {f"unet.{layer.format(k)}.lora_{m}.weight": torch.zeros(s) for k in (1, 2)
    ...          for m, s in (("A", (4, 1280)), ("B", (1280, 4)))}
    >>> carried, dropped = carry_lora(state, make_plan(config, cls, "b-base"))
    >>> sorted(carried) == [f"unet.{layer.format(1)}.lora_{m}.weight" for m in "AB"], dropped[layer.format(1)]
    (True, 'the layer was removed')
    """
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    prefix = f"{component or ('unet' if is_unet(plan.config) else 'transformer')}."
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    others = {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
    carried = {name: tensor for name, tensor in others.items() if _OTHERS.fullmatch(name)}
    dropped = dict.fromkeys(_by_layer({n: t for n, t in others.items() if n not in carried}), "no part is called so")
    fitting, layers, copied = _Layers(plan), _by_layer(convert_unet_state_dict_to_peft(own)), len(carried)
    for layer, leaves in layers.items():
        why = fitting.misfit(layer, leaves)
        if why:
            dropped[layer] = why
            continue
        path, (rows, columns) = fitting.partner[layer], fitting.dims(layer)
        for leaf, tensor in leaves.items():
            part = (None, columns) if leaf.startswith("lora_A") else (rows,)
            carried[f"{prefix}{path}.{leaf}"] = taken(tensor, Origin("sliced", None, part))
    if len(carried) == copied and (dropped or not carried):
        first = next((f": {layer} ({why})" for layer, why in dropped.items()), "")
        raise UserError(f"this LoRA fits no layer of the student{first}; give one that was made for this teacher")
    return carried, dropped


class _Layers:
    """Which adapters have a place in the student."""

    def __init__(self, plan: StudentPlan):
        teacher, student = on_meta(plan.cls, plan.teacher_config), on_meta(plan.cls, plan.config)
        self.partner = {source: path for path, source in plan.modules.items()}
        self.before = shapes(teacher)
        fresh = plan.init == "random"
        self.origins = origins(teacher, student, plan.modules, init="slice") if fresh else plan.origins

    def misfit(self, layer: str, leaves: Mapping[str, Tensor]) -> str:
        """Why the adapter of the teacher's layer has no place; "" if it has one."""
        weight = self.before.get(f"{layer}.weight")
        if weight is None or len(weight) < 2:
            return "the teacher has no such layer"
        first, second = leaves.get("lora_A.weight"), leaves.get("lora_B.weight")
        if first is None or second is None:
            return "it is no pair of matrices"
        if (second.shape[0], first.shape[1]) != weight[:2]:
            made = f"{first.shape[1]} to {second.shape[0]} channels"
            return f"it was made for {made}, the teacher has {weight[1]} to {weight[0]}"
        if layer not in self.partner:
            return "the layer was removed"
        origin = self.origins[f"{self.partner[layer]}.weight"]
        return origin.reason if origin.source is None else ""

    def dims(self, layer: str) -> tuple[Any, Any]:
        """How the layer's outputs and inputs were narrowed."""
        rows, columns, *_ = (*self.origins[f"{self.partner[layer]}.weight"].dims, None, None)
        return rows, columns


def _by_layer(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        match = _LEAF.fullmatch(name)
        layer, leaf = match.groups() if match else (name, "")
        found.setdefault(layer, {})[leaf] = tensor
    return found


def _scaled(state: Mapping[str, Any], alphas: Mapping[str, Any], adapters: Mapping[str, Any]) -> dict[str, Tensor]:
    """The LoRA with scale 1: what alpha, in a key of its own or in the file's metadata, says is multiplied in."""
    own = {name: value for name, value in state.items() if name.endswith(".alpha")}
    by_layer = {_MARK.split(name.removesuffix(".alpha"))[0]: float(a) for name, a in {**own, **alphas}.items()}
    found = {}
    for name, tensor in state.items():
        if name in own:
            continue
        if _UP.search(name):
            rank = state[re.sub("bias$", "weight", name)].shape[1]
            tensor = tensor * _scale(_MARK.split(name)[0], rank, by_layer, adapters)
        found[name] = tensor
    return found


def _scale(layer: str, rank: int, alphas: Mapping[str, float], adapters: Mapping[str, Any]) -> float:
    if layer in alphas:
        return alphas[layer] / rank
    component, _, path = layer.partition(".")
    alpha = adapters.get(f"{component}.lora_alpha")
    for pattern, value in (adapters.get(f"{component}.alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", path):
            alpha = value
            break
    if alpha is None:
        return 1.0
    return alpha / (math.sqrt(rank) if adapters.get(f"{component}.use_rslora") else rank)
