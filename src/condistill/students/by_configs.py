"""A pipeline recorded by its configs alone: what its denoiser is called with, in shapes, without a weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from condistill.errors import UserError, brief
from condistill.students.hollow import hollow, hollow_pipeline, plain_class
from condistill.students.meta import clean, on_meta
from condistill.students.passes import meta_inputs, one_pass
from condistill.teacher.faults import fault_of
from condistill.teacher.leaves import flatten


@dataclass(frozen=True)
class ByConfigs:
    """A pipeline's denoiser as its configs say it.

    Attributes:
        cls, config: of the denoiser.
        component: its name in the pipeline.
        inputs: its keyword arguments for one item at the pipeline's own size, as a real recording has them; floats are
            shapes on the meta device.
        latent_shape: of one x0.
        other_parameters: of the pipeline's other networks.
        own_steps: the pipeline's own number of sampling steps; None where its call has no such argument.
    """

    cls: type
    config: dict[str, Any]
    component: str
    inputs: Mapping[str, Any] = field(repr=False)
    latent_shape: tuple[int, ...]
    other_parameters: int
    own_steps: int | None


def recorded_by_configs(
    folder: str | Path, component: str | None = None, *, call: Mapping[str, Any] | None = None
) -> ByConfigs:
    """The pipeline of a folder, recorded without reading a weight.

    Args:
        folder: with model_index.json, the networks' configs, tokenizers and scheduler.
        component: the denoiser's name where there are several.
        call: the pipeline's own arguments (size, pictures); its own defaults if None.

    Raises:
        UserError: a file is missing, a class is not known, or the pipeline cannot be recorded.
    """
    try:
        return _recorded(folder, component, call or {})
    except UserError:
        raise
    except Exception as error:  # whatever a pipeline raises on configs that do not fit together
        why = fault_of(Path(folder)) or brief(error)
        raise UserError(f"{folder} cannot be recorded by its configs alone: {why}") from error


def _recorded(folder: str | Path, component: str | None, call: Mapping[str, Any]) -> ByConfigs:
    from condistill.teacher import Teacher
    from condistill.teacher.calibrate import calibrate
    from condistill.teacher.checking import unknown_noise
    from condistill.teacher.identity import denoiser_name
    from condistill.teacher.keys import parameters_of, recording_call
    from condistill.teacher.running import networks, unheard

    with unheard():
        pipeline = hollow_pipeline(folder)
    unknown_noise(pipeline)  # a pipeline without a scheduler is refused; of other noise the oracle decides
    name = denoiser_name(pipeline, component)
    network, parts = getattr(pipeline, name), networks(pipeline)
    for keys in _keys(pipeline, network):
        with hollow():
            teacher = Teacher(pipeline, name, calibrate(pipeline, name, recording_call(call), keys=keys))
            inputs = teacher.example()
        if keys is None or one_pass(on_meta(plain_class(network), network.config), inputs) is not None:
            break
    steps = parameters_of(pipeline).get("num_inference_steps")
    usual: Any = steps.default if steps is not None else None
    return ByConfigs(
        cls=plain_class(network),
        config=clean(network.config),  # type: ignore[arg-type]
        component=name,
        inputs=meta_inputs(network, inputs),
        latent_shape=teacher.latent_shape,
        other_parameters=sum(p.numel() for part, one in parts.items() if part != name for p in one.parameters()),
        own_steps=usual if isinstance(usual, int) else None,
    )


def _keys(pipeline: Any, network: Any) -> list[Any]:
    """Keys to record with, the likeliest first; None for the usual ones.

    How wide an embedding is that a pipeline takes as its key, only the denoiser says when it is run.
    """
    from condistill.teacher.keys import example_keys

    found = list(example_keys(pipeline, network))
    return found if len(found) > 1 else [None]


def shapes_of(inputs: Mapping[str, Any] | None) -> dict[str, tuple[int, ...]]:
    """Argument -> shape of what a pass is counted with."""
    return {path: tuple(one.shape) for path, one in flatten(inputs or {}).items() if isinstance(one, Tensor)}
