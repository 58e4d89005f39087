"""Which pipeline this is: its denoiser by name, and one hash that tells two teachers apart."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

from torch import nn

from condistill.errors import UserError
from condistill.teacher.running import networks, samplers

DENOISERS = ("unet", "transformer", "prior", "decoder")
# they do not change what the denoiser predicts
NOT_HASHED = ("vae", "vqvae", "movq", "safety_checker")


def pipeline_hash(pipeline: Any) -> str:
    """SHA-256 over names, shapes and values (as float16) of all networks but the VAE, and the scheduler's config."""
    digest = hashlib.sha256()
    for part in samplers(pipeline).values():
        config = {name: value for name, value in part.config.items() if not name.startswith("_")}
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for name, part in sorted(networks(pipeline).items()):
        if name not in NOT_HASHED:
            for key, value in sorted(part.state_dict().items()):
                digest.update(f"{name}.{key}{tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()


def denoiser_name(pipeline: Any, component: str | None) -> str:
    """The name of the denoiser among the pipeline's networks.

    Raises:
        UserError: there is no such network, or none that is known to be a denoiser.
    """
    modules, title = networks(pipeline), type(pipeline).__name__
    if component is not None:
        if component not in modules:
            raise UserError(f"{title} has no network {component!r}; it has: {', '.join(modules)}")
        return component
    for name in DENOISERS:
        if name in modules:
            return name
    unknown = [name for name, part in modules.items() if _denoises(part)]
    if len(unknown) == 1:
        return unknown[0]
    raise UserError(
        f"{title} has no denoiser that is known by its name among its networks ({', '.join(modules) or 'none'}); "
        "choose one with component="
    )


def _denoises(network: nn.Module) -> bool:
    """Whether a network takes a time beside its input, as denoisers do."""
    taken = inspect.signature(type(network).forward).parameters
    return any(name in taken for name in ("timestep", "timesteps", "t", "sigma", "noise_level"))
