"""Recording: run a pipeline with its denoiser and scheduler watched, and note what they are called with.

Nothing of the pipeline is replaced for good: `forward` and `step` are shadowed on the instances and restored, also when
the pipeline raises.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

Leaves = dict[str, Any]
Mode = Literal["real", "zeros", "stop"]


class FirstCallRecorded(Exception):
    """Raised by the stub to leave the pipeline once the denoiser's first call is known. Never leaves this floor."""


@dataclass
class Recording:
    """What one run of a pipeline did.

    Attributes:
        calls: the denoiser's calls, flattened: path of the argument -> value.
        times: the time of each scheduler step.
        samples: the scheduler's sample before each step.
        last: the scheduler's sample after its last step: x0 in the denoiser's own space.
        result: what the pipeline returned (None if it was left early).
    """

    calls: list[Leaves] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    samples: list[Tensor] = field(default_factory=list)
    last: Tensor | None = None
    result: Any = None


def flatten(arguments: Mapping[str, Any], prefix: str = "") -> Leaves:
    """Nested mappings and sequences as one level of dotted paths.

    A list of plain numbers stays one leaf.

    >>> flatten({"t": 1, "cond": {"text": 2, "ids": [3]}, "many": [{"a": 4}]})
    {'t': 1, 'cond.text': 2, 'cond.ids': [3], 'many.0.a': 4}
    """
    leaves: Leaves = {}
    for name, value in arguments.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            leaves.update(flatten(value, path + "."))
        elif isinstance(value, list | tuple) and any(isinstance(v, Tensor | list | tuple | Mapping) for v in value):
            leaves.update(flatten({str(k): v for k, v in enumerate(value)}, path + "."))
        else:
            leaves[path] = value
    return leaves


def rebuild(template: Any, leaves: Leaves, prefix: str = "") -> Any:
    """`template` (nested arguments) with every leaf replaced by the one of `leaves` at its path."""
    if isinstance(template, Mapping):
        return {name: rebuild(value, leaves, f"{prefix}{name}.") for name, value in template.items()}
    if isinstance(template, list | tuple) and any(isinstance(v, Tensor | list | tuple | Mapping) for v in template):
        return type(template)(rebuild(value, leaves, f"{prefix}{k}.") for k, value in enumerate(template))
    return leaves[prefix[:-1]]


def bound_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The call's arguments by parameter name, whether they were passed by place or by name."""
    found = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
    named = {name: value for name, value in list(found.items())[1:] if name != "kwargs"}
    return {**named, **found.get("kwargs", {})}


@contextmanager
def shadowed(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """`owner.name` is `replacement` inside the block, and what it was (class or instance attribute) after it."""
    missing = object()
    before = vars(owner).get(name, missing)
    # vars(), not setattr: nn.Module and ConfigMixin intercept attribute access
    vars(owner)[name] = replacement
    try:
        yield
    finally:
        if before is missing:
            del vars(owner)[name]
        else:
            vars(owner)[name] = before


@contextmanager
def watched(network: nn.Module, scheduler: Any, mode: Mode) -> Iterator[tuple[Recording, list[dict[str, Any]]]]:
    """Yields the recording that fills while the block runs the pipeline, and the calls' nested arguments.

    Args:
        network: the denoiser.
        scheduler: the pipeline's scheduler; its `step` is watched.
        mode: "real" lets the network answer; "zeros" answers with zeros shaped as its first real answer; "stop" leaves
            the pipeline at the first call.
    """
    recording, nested = Recording(), []
    real_forward, real_step = network.forward, scheduler.step
    blank: list[Any] = []

    def forward(*args: Any, **kwargs: Any) -> Any:
        arguments = bound_arguments(network, args, kwargs)
        if mode != "real":
            nested.append(arguments)
        if mode == "real":
            # keeping every call of a long run would keep its tensors; the first one is enough
            if not recording.calls:
                recording.calls.append(flatten(arguments))
            return real_forward(*args, **kwargs)
        recording.calls.append(flatten(arguments))
        if mode == "stop":
            raise FirstCallRecorded
        if not blank:
            blank.append(zeros_of(real_forward(*args, **kwargs)))
        return blank[0]

    def step(model_output: Any, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        out = real_step(model_output, timestep, sample, *args, **kwargs)
        recording.times.append(float(timestep))
        if mode == "zeros":
            recording.samples.append(sample.detach().clone())
        recording.last = out[0] if isinstance(out, tuple) else out.prev_sample
        return out

    with shadowed(network, "forward", forward), shadowed(scheduler, "step", step):
        yield recording, nested


def zeros_of(output: Any) -> Any:
    """`output` with every tensor replaced by zeros, its container kept."""
    if isinstance(output, Tensor):
        return torch.zeros_like(output)
    if isinstance(output, tuple):
        return tuple(zeros_of(part) for part in output)
    return type(output)(**{name: zeros_of(part) for name, part in output.items()})
