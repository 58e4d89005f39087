"""The networks that a pipeline calls, by recording one short run of it: what each is given and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from condistill.stopwatch import median_seconds
from condistill.teacher.shadowing import shadowed

METHODS = ("forward", "decode")  # what pipelines call: a VAE is decoded with, everything else is run
TIMED = 5
Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Part:
    """One network of a pipeline, as it was called first.

    Attributes:
        name: of the component; with the method where that is not forward: vae_decode.
        module, method: what was called.
        leaves, spec: its arguments, flat.
        outputs: the tensors that it gave.
        output_leaves, output_spec: what it gave, flat.
    """

    name: str
    module: nn.Module
    method: str
    leaves: tuple[Any, ...] = field(repr=False)
    spec: Any = field(repr=False)
    outputs: tuple[Tensor, ...] = field(repr=False)
    output_leaves: tuple[Any, ...] = field(repr=False)
    output_spec: Any = field(repr=False)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The arguments that are tensors."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, Tensor))

    @property
    def input_names(self) -> list[str]:
        """A name for each of them."""
        return [f"input_{k}" for k in range(len(self.tensors))]

    @property
    def output_names(self) -> list[str]:
        """A name for each tensor that it gives."""
        return [f"output_{k}" for k in range(len(self.outputs))]

    def flat(self) -> Flat:
        """The network as a function of tensors alone."""
        return Flat(self)

    def run(self, module: nn.Module | None = None) -> Run:
        """The network as it is, or another one in its place."""
        flat = (self if module is None else replace(self, module=module)).flat()

        @torch.no_grad()
        def run(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
            return flat(*tensors)

        return run

    def rebuilt(self, outputs: Sequence[Tensor]) -> Any:
        """What the network gives, with these tensors in it."""
        given = iter(outputs)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in self.output_leaves]
        return tree_unflatten(leaves, self.output_spec)


class Flat(nn.Module):
    """A part as a module that takes its tensors one by one and gives a tuple of tensors."""

    def __init__(self, part: Part):
        super().__init__()
        self.module, self._method = part.module, part.method
        self._leaves, self._spec = part.leaves, part.spec

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors that the network gives."""
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        args, kwargs = tree_unflatten(leaves, self._spec)
        # the class's own function: an exported network may stand in the object's place
        output = getattr(type(self.module), self._method)(self.module, *args, **kwargs)
        return tuple(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


def recorded(pipeline: Any, sample: Callable[[], Any]) -> list[Part]:
    """The networks that `sample()` calls, in the order of their first calls."""
    found: dict[str, Part] = {}

    def watching(name: str, module: nn.Module, method: str) -> Callable[..., Any]:
        call = getattr(module, method)

        def watched(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            if name not in found:
                leaves, spec = tree_flatten((args, kwargs))
                out_leaves, out_spec = tree_flatten(output)
                outputs = tuple(leaf for leaf in out_leaves if isinstance(leaf, Tensor))
                if outputs:
                    about = tuple(leaves), spec, outputs, tuple(out_leaves), out_spec
                    found[name] = Part(name, module, method, *about)
            return output

        return watched

    with ExitStack() as stack:
        for name, module in pipeline.components.items():
            for method in METHODS if isinstance(module, nn.Module) else ():
                if hasattr(module, method):
                    label = name if method == "forward" else f"{name}_{method}"
                    stack.enter_context(shadowed(module, method, watching(label, module, method)))
        sample()
    return list(found.values())


@contextmanager
def running(parts: Sequence[Part], runs: Sequence[Run]) -> Iterator[None]:
    """A block in which the pipeline's networks are answered for by exported ones."""
    with ExitStack() as stack:
        for part, run in zip(parts, runs, strict=True):
            stack.enter_context(shadowed(part.module, part.method, _answering(part, run)))
        yield


def _answering(part: Part, run: Run) -> Callable[..., Any]:
    def answer(*args: Any, **kwargs: Any) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        return part.rebuilt(run(tensors))

    return answer


def seconds(run: Run, tensors: Sequence[Tensor]) -> float:
    """Seconds of one call."""
    return median_seconds(lambda: run(tensors), repeats=TIMED)


def relative_error(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest difference, as a share of the largest value of what is wanted.

    >>> relative_error([torch.tensor([1.0, 2.5])], [torch.tensor([1.0, 2.0])])
    0.25
    """
    worst = 0.0
    for one, other in zip(found, wanted, strict=True):
        largest = float(other.abs().max()) if other.numel() else 0.0
        difference = float((one.to(other.dtype) - other).abs().max()) if other.numel() else 0.0
        worst = max(worst, difference / largest if largest else difference)
    return worst
