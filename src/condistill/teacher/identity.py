"""Which pipeline this is: its denoiser by name, and one hash that tells two teachers apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import nn

from condistill.errors import UserError

DENOISERS = ("unet", "transformer", "prior", "decoder")
# they do not change what the denoiser predicts
NOT_HASHED = ("vae", "vqvae", "movq", "safety_checker")


def pipeline_hash(pipeline: Any) -> str:
    """SHA-256 over names, shapes and values (as float16) of all networks but the VAE, and the scheduler's config."""
    digest = hashlib.sha256()
    config = {name: value for name, value in pipeline.scheduler.config.items() if not name.startswith("_")}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for name, part in sorted(pipeline.components.items()):
        if isinstance(part, nn.Module) and name not in NOT_HASHED:
            for key, value in sorted(part.state_dict().items()):
                digest.update(f"{name}.{key}{tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()


def denoiser_name(pipeline: Any, component: str | None) -> str:
    """The name of the denoiser among the pipeline's networks.

    Raises:
        UserError: there is no such network, or none that is known to be a denoiser.
    """
    modules = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    if component is not None:
        if component not in modules:
            raise UserError(f"{type(pipeline).__name__} has no network {component!r}; it has: {', '.join(modules)}")
        return component
    for name in DENOISERS:
        if name in modules:
            return name
    raise UserError(
        f"{type(pipeline).__name__} has no denoiser among its networks ({', '.join(modules) or 'none'}); "
        "choose one with component="
    )
