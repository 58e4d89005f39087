"""What an evaluation keeps: the teacher's samples for the next one, and its own batches in case it is stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from condistill import processes
from condistill.errors import UserError
from condistill.evaluate.judging import Seen
from condistill.evaluate.pairs import Gaps
from condistill.evaluate.sampling import Sampled, Wish
from condistill.files import load_tensors, save_tensors, sweep

if TYPE_CHECKING:
    from condistill.teacher import Teacher

T = TypeVar("T")
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


def wished(what: Mapping[str, Any], wish: Wish) -> dict[str, Any]:
    """`what`, and what is kept of the samples."""
    judge = wish.judge.identity if wish.judge else None
    asked = {**what, "judge": judge, "rows": list(wish.rows), "images": wish.images, "latents": wish.latents}
    if wish.views:
        networks = {backbone.name: dict(backbone.identity) for backbone in wish.backbones}
        asked |= {"views": sorted(wish.views), "size": wish.size, "backbones": networks}
    return asked


def kept(folder: Path, what: Mapping[str, Any], wish: Wish, make: Callable[[], Sampled]) -> Sampled:
    """The samples in `folder` that were made from `what`, or those that `make` makes, which are then kept there.

    Args:
        what: everything that decides the samples, as JSON types.
        wish: what is kept of them; another wish is another file.
        make: makes them.
    """
    asked = wished(what, wish)
    name = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
    path = folder / f"{name}.safetensors"
    # pictures to be written are not in the store
    if wish.folder is None and (found := _read(path)) is not None:
        return unpacked(found)
    made = make()
    if processes.is_main():
        _write(path, packed(made))
    return made


Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Parts:
    """The batches of an evaluation that are done, in a folder, so that one that is killed goes on where it was."""

    folder: Path

    def keeper(
        self, what: Mapping[str, Any], *, pack: Callable[[T], Tensors], unpack: Callable[[Tensors], T]
    ) -> Callable[[int, Callable[[], T]], T]:
        """A function of a batch's number and what makes it; it makes each batch once and remembers it.

        Args:
            what: everything that decides the batches, as JSON types.
            pack, unpack: turn a batch into tensors and back.
        """
        digest = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()
        sweep(self.folder / digest)

        def keep(number: int, make: Callable[[], T]) -> T:
            path = self.folder / digest / f"{number:06d}.safetensors"
            if (found := _read(path)) is None:
                _write(path, pack(made := make()))
                return made
            return unpack(found)

        return keep


def at_once(number: int, make: Callable[[], T]) -> T:
    """The batch, made and not remembered."""
    return make()


def _write(path: Path, tensors: Tensors) -> None:
    save_tensors(path, tensors, {"sha256": _digest(tensors)})


def _read(path: Path) -> Tensors | None:
    """The tensors of a file; None where it is not there or not as it was written, and is then to be made again."""
    try:
        tensors, facts = load_tensors(path)
    except UserError:
        return None
    return tensors if facts.get("sha256") == _digest(tensors) else None


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def packed(made: Sampled) -> Tensors:
    """Samples as tensors."""
    arrays: dict[str, Any] = {f"bound/{path}": value for path, value in made.bound.items()}
    arrays |= {f"shown/{row}": image for row, image in made.shown.items()}
    arrays |= {f"views/{name}": view for name, view in made.views.items()}
    if made.seen is not None:
        arrays |= {f"seen/{name}": getattr(made.seen, name) for name in ("concept", "colour", "features")}
    arrays |= {name: getattr(made, name) for name in ("images", "latents") if getattr(made, name) is not None}
    return {name: torch.from_numpy(a.copy()) if isinstance(a, np.ndarray) else a for name, a in arrays.items()}


def packed_gaps(gaps: Mapping[str, Gaps]) -> Tensors:
    """Student -> errors, as tensors."""
    found = {f"output/{name}": one.output for name, one in gaps.items()}
    for name, one in gaps.items():
        # a module's path has no stroke in it
        found |= {f"tap/{tap}/{name}": value for tap, value in one.taps.items()}
    return {name: torch.from_numpy(value.copy()) for name, value in found.items()}


def unpacked_gaps(tensors: Tensors) -> dict[str, Gaps]:
    """What `packed_gaps` packed."""
    found = {name.removeprefix("output/"): {} for name in tensors if name.startswith("output/")}
    for path, value in tensors.items():
        kind, _, rest = path.partition("/")
        if kind == "tap":
            tap, _, name = rest.partition("/")
            found[name][tap] = value.numpy()
    return {name: Gaps(tensors[f"output/{name}"].numpy(), taps) for name, taps in found.items()}


def unpacked(tensors: Mapping[str, Tensor]) -> Sampled:
    """What `packed` packed."""

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
