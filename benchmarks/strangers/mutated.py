"""Pipelines of every family whose denoiser has another config: some of its fields are drawn anew."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import torch
from diffusers import DiffusionPipeline

from strangers import parts, samplers
from strangers.variant import Variant
from tests.contract.expected import NOT_LOADED, REFUSED
from tests.tiny.case import PROMPTS, Case
from tests.tiny.catalogue import catalogue

WORDS: dict[str, tuple[Any, ...]] = {
    "qk_norm": (None, "rms_norm", "layer_norm", "rms_norm_across_heads"),
    "norm_type": ("ada_norm_zero", "ada_norm_single", "layer_norm"),
    "activation_fn": ("gelu", "geglu", "gelu-approximate", "silu", "swiglu", "linear-silu"),
    "act_fn": ("silu", "gelu", "swish"),
    "context_pre_only": (True, False),
    "cross_attention_type": ("default",),
    "time_embedding_type": ("positional", "fourier"),
}


@cache
def families() -> dict[str, Case]:
    """The pipelines of the catalogue that go the whole way."""
    return {name: case for name, case in catalogue().items() if name not in {**REFUSED, **NOT_LOADED}}


def changed(rng: Random, config: dict[str, Any]) -> dict[str, Any]:
    """Some fields of a network's config, with other values of their kind."""
    fields = [k for k, v in config.items() if not k.startswith("_") and _others(k, v)]
    layers = [k for k in fields if type(config[k]) is int and "layers" in k and "norm" not in k]
    picked = set(rng.sample(fields, min(len(fields), rng.choice((1, 1, 2)))))
    if layers and rng.random() < 0.6:
        picked.add(rng.choice(layers))
    return {k: rng.choice(_others(k, config[k])) for k in sorted(picked)}


def _others(name: str, value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if type(value) is int and ("layers" in name or "depth" in name or "blocks" in name):
        return [k for k in (1, 2, 3, 5) if k != value]
    if type(value) is int and 0 < value <= 4096:
        near = {2 * value, 3 * value, value // 2, value + 1, 1, 3} - {value, 0}
        return sorted(near)
    if isinstance(value, float):
        return [value * 2, value / 2]
    if isinstance(value, str) or value is None:
        return [word for word in WORDS.get(name, ()) if word != value]
    if isinstance(value, list | tuple) and len(value) > 1 and all(type(k) is int for k in value):
        return [list(value)[:-1], list(reversed(value)), [2 * k for k in value], [*value, value[-1]]]
    return []


def mutated(rng: Random, name: str, family: str) -> Variant:
    """The pipeline of that family, its denoiser made anew from a changed config."""
    case = families()[family]
    pipeline = case.build()
    component = case.component or denoiser(pipeline)
    network = getattr(pipeline, component)
    config = {k: v for k, v in dict(network.config).items() if not k.startswith("_")}
    changes = changed(rng, config)
    is_awake, seed = rng.random() < 0.7, rng.randrange(1000)
    own = type(pipeline.scheduler).__name__ if getattr(pipeline, "scheduler", None) is not None else ""
    options = samplers.drawn(rng, own, samplers.FLOW) if own in samplers.FLOWS and rng.random() < 0.5 else None

    def build() -> Any:
        made = case.build()
        with parts.seeded(seed):
            other = type(network)(**{**config, **changes})
            for weight in other.parameters():  # what the class leaves to a checkpoint
                if not weight.isfinite().all() or weight.abs().max() > 1e3:
                    torch.nn.init.normal_(weight, std=0.02)
        other = (parts.awake(other) if is_awake else other).eval()
        exchange(made, component, other)
        if options is not None:
            made.scheduler = type(made.scheduler).from_config(made.scheduler.config, **options)
        return made

    drawn = {"family": family, **changes, "scheduler": options, "awake": is_awake}
    keys = PROMPTS if case.keys == PROMPTS else case.keys
    return Variant(name, drawn, build, case.call, keys, case.component)


def exchange(pipeline: Any, component: str, network: Any) -> None:
    """The network takes the component's place, also in the pipelines that a combined one is made of."""
    own = getattr(pipeline, component)
    for one in [part for part in vars(pipeline).values() if isinstance(part, DiffusionPipeline)]:
        for name in [name for name, part in one.components.items() if part is own]:
            one.register_modules(**{name: network})
    pipeline.register_modules(**{component: network})


def denoiser(pipeline: Any) -> str:
    """The name of the network that the pipeline's loop calls."""
    from condistill.teacher.identity import denoiser_name

    return denoiser_name(pipeline, None)
