"""The teacher's samples kept between evaluations: many students of one teacher are measured on the same prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from condistill import processes
from condistill.evaluate.judging import Seen
from condistill.evaluate.sampling import Sampled, Wish
from condistill.files import load_tensors, save_tensors

if TYPE_CHECKING:
    from condistill.teacher import Teacher

_DECODERS = ("vae", "vqvae", "movq")  # not part of the teacher's own hash, but pictures depend on them


def identity(teacher: Teacher) -> str:
    """A hash of all that decides the teacher's pictures: its weights, its decoder, library and kind of device."""
    digest = hashlib.sha256(f"{teacher.hash} {torch.__version__} {teacher.device.type}".encode())
    for name in _DECODERS:
        decoder = teacher.pipeline.components.get(name)
        if isinstance(decoder, nn.Module):
            for key, value in sorted(decoder.state_dict().items()):
                digest.update(key.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def kept(folder: Path, what: Mapping[str, Any], wish: Wish, make: Callable[[], Sampled]) -> Sampled:
    """The samples in `folder` that were made from `what`, or those that `make` makes, which are then kept there.

    Args:
        what: everything that decides the samples, as JSON types.
        wish: what is kept of them; another wish is another file.
        make: makes them.
    """
    judge = wish.judge.identity if wish.judge else None
    asked = {**what, "judge": judge, "rows": list(wish.rows), "images": wish.images, "latents": wish.latents}
    if wish.views:
        networks = {backbone.name: dict(backbone.identity) for backbone in wish.backbones}
        asked |= {"views": sorted(wish.views), "size": wish.size, "backbones": networks}
    name = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
    path = folder / f"{name}.safetensors"
    if path.exists() and wish.folder is None:  # pictures to be written are not in the store
        return _unpacked(load_tensors(path)[0])
    made = make()
    if processes.is_main():
        save_tensors(path, _packed(made))
    return made


def _packed(made: Sampled) -> dict[str, Tensor]:
    arrays: dict[str, Any] = {f"bound/{path}": value for path, value in made.bound.items()}
    arrays |= {f"shown/{row}": image for row, image in made.shown.items()}
    arrays |= {f"views/{name}": view for name, view in made.views.items()}
    if made.seen is not None:
        arrays |= {f"seen/{name}": getattr(made.seen, name) for name in ("concept", "colour", "features")}
    arrays |= {name: getattr(made, name) for name in ("images", "latents") if getattr(made, name) is not None}
    return {name: torch.from_numpy(a.copy()) if isinstance(a, np.ndarray) else a for name, a in arrays.items()}


def _unpacked(tensors: Mapping[str, Tensor]) -> Sampled:
    def below(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    seen = {name: value.numpy() for name, value in below("seen/").items()}
    return Sampled(
        seen=Seen(**seen) if seen else None,
        shown={int(row): image.numpy() for row, image in below("shown/").items()},
        images=tensors["images"].numpy() if "images" in tensors else None,
        latents=tensors.get("latents"),
        bound=below("bound/"),
        views={name: value.numpy() for name, value in below("views/").items()},
    )
