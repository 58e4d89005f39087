"""One pass through a network that is only shapes: what every module gives out, and what it costs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from condistill.errors import brief
from condistill.students.likely import inputs_of
from condistill.students.remembered import Remembered
from condistill.students.shape_mode import NO_PASS, shapes_only

# names of the operators that the papers' convention counts: convolutions and linear layers
_CONV_LINEAR = ("convolution", "_convolution", "addmm", "mm", "linear")
Shape = tuple[int, ...]
# a student is planned, checked and counted by passes that are the same: 60 % of the time that making one took
_KNOWN: Remembered[Pass | None] = Remembered()


@dataclass(frozen=True)
class Pass:
    """What one pass showed.

    Attributes:
        outputs: module path -> the shape of each element of what it gave out the first time it ran; None for an
            element that is no tensor. "" is the network itself.
        macs: module path -> {"conv_linear", "total"} multiply-accumulates, summed over all its runs.
    """

    outputs: dict[str, tuple[Shape | None, ...]] = field(default_factory=dict)
    macs: dict[str, dict[str, int]] = field(default_factory=dict)


def meta_inputs(network: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded arguments without the memory: floats on the meta device, integers and masks on the CPU.

    The values of the latter decide lengths (how many tokens a mask leaves), so they are kept. What was recorded in half
    precision has that of the network's weights: one built from a config is in float32.
    """
    own = next((weight.dtype for weight in network.parameters()), torch.float32)

    def shape_of(one: Tensor) -> Tensor:
        if not one.is_floating_point() and not one.is_complex():
            return one.to("cpu")
        return one.to("meta", own if one.dtype in (torch.float16, torch.bfloat16) else one.dtype)

    return tree_map_only(Tensor, shape_of, dict(inputs))


@torch.no_grad()
def one_pass(
    network: nn.Module,
    inputs: Mapping[str, Any] | None = None,
    *,
    latent: Sequence[int] | None = None,
    tokens: int = 77,
) -> Pass | None:
    """The pass of a network on the meta device; None where its arguments are not known or shapes do not suffice.

    Args:
        network: on the meta device.
        inputs: its keyword arguments for one item; those known for its class if None.
        latent: (height, width) in latent pixels where `inputs` is None; the config's sample size if None.
        tokens: length of the text where `inputs` is None.
    """
    inputs = inputs_of(network, latent, tokens) if inputs is None else meta_inputs(network, inputs)
    if inputs is None:
        return None
    question = _question(network, inputs)
    return _KNOWN.answer(question, lambda: _new_pass(network, inputs))


def _new_pass(network: nn.Module, inputs: Mapping[str, Any]) -> Pass | None:
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            outputs = _run_on_meta(network, inputs)
    except NO_PASS:
        return None
    return Pass(outputs, _macs(counter, type(network).__name__))


def _question(network: nn.Module, inputs: Mapping[str, Any]) -> str:
    """A hash of all that a pass depends on: the network's build and what it is given, values where there are any."""
    leaves, structure = tree_flatten(dict(inputs))
    given = [(tuple(one.shape), str(one.dtype), None if one.is_meta else one.tolist()) if isinstance(one, Tensor)
             else one for one in leaves]  # fmt: skip
    build = [(name, tuple(one.shape)) for name, one in network.state_dict().items()]
    config = sorted((name, str(value)) for name, value in dict(getattr(network, "config", {})).items())
    return hashlib.sha256(repr((type(network), config, build, str(structure), given)).encode()).hexdigest()


@torch.no_grad()
def why_no_pass(network: nn.Module, inputs: Mapping[str, Any] | None) -> str:
    """What a network says that `one_pass` finds cannot be run, in a line."""
    try:
        _run_on_meta(network, meta_inputs(network, inputs or inputs_of(network) or {}))
    except NO_PASS as error:
        return brief(error)
    return ""


def _run_on_meta(network: nn.Module, inputs: Mapping[str, Any]) -> dict[str, tuple[Shape | None, ...]]:
    with shapes_only():
        return outputs_of(network, inputs)


@torch.no_grad()
def sources_of_items(network: nn.Module, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Item of a module list -> the module whose output it reads first; "" where no module gave it out.

    Empty for a network that does not run on shapes alone.
    """
    lists = [(path, part) for path, part in network.named_modules() if isinstance(part, nn.ModuleList)]
    items = {f"{path}.{name}" for path, part in lists for name, _ in part.named_children()}
    made: dict[int, str] = {}
    found: dict[str, str] = {}
    alive: list[Any] = []  # an id means something only while its tensor is there

    def reads(path: str) -> Any:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            first = next((one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)), None)
            found.setdefault(path, made.get(id(first), ""))

        return hook

    def gives(path: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            alive.append(output)
            for one in tree_leaves(output):
                made.setdefault(id(one), path)

        return hook

    handles = [network.get_submodule(path).register_forward_pre_hook(reads(path), with_kwargs=True) for path in items]
    handles += [part.register_forward_hook(gives(path)) for path, part in network.named_modules()]
    try:
        with shapes_only():
            network(**meta_inputs(network, inputs))
    except NO_PASS:
        return {}
    finally:
        for handle in handles:
            handle.remove()
    return found


@torch.no_grad()
def runs(network: nn.Module, inputs: Mapping[str, Any]) -> bool:
    """Whether the network runs on these arguments, on its own device."""
    try:
        network(**inputs)
    except NO_PASS:
        return False
    return True


@torch.no_grad()
def outputs_of(network: nn.Module, inputs: Mapping[str, Any]) -> dict[str, tuple[Shape | None, ...]]:
    """Module path -> the shapes of what it gives out, in one run of the network as it is, on its own device."""
    found: dict[str, tuple[Shape | None, ...]] = {}

    def keep(path: str) -> Any:
        return lambda _, __, output: found.setdefault(path, _elements(output)) and None

    handles = [module.register_forward_hook(keep(path)) for path, module in network.named_modules()]
    try:
        network(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _elements(output: Any) -> tuple[Shape | None, ...]:
    if isinstance(output, Tensor):
        return (tuple(output.shape),)
    if isinstance(output, list) and output and all(isinstance(one, Tensor) for one in output):
        return ((len(output), *output[0].shape),)  # one tensor per item
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if not isinstance(output, tuple | list):
        return (None,)
    # a block may give out a tuple of skips beside its hidden states
    return tuple(tuple(one.shape) if isinstance(one, Tensor) else None for one in output)


def _macs(counter: FlopCounterMode, root: str) -> dict[str, dict[str, int]]:
    found = {}
    for name, by_operator in counter.get_flop_counts().items():
        path = "" if name == "Global" else name.removeprefix(root).lstrip(".")
        if name == root:
            continue
        flops = {str(operator).rpartition(".")[2]: count for operator, count in by_operator.items()}
        # the counter counts two operations per multiply-accumulate
        found[path] = {
            "conv_linear": sum(count for operator, count in flops.items() if operator in _CONV_LINEAR) // 2,
            "total": sum(flops.values()) // 2,
        }
    return found
