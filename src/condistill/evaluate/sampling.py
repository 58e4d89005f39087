"""Every model's images of every group, made once; features taken batch by batch, pictures kept for the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from condistill import processes
from condistill.errors import UserError
from condistill.evaluate.backbones import Backbone, finished, looked_at
from condistill.evaluate.items import Items
from condistill.evaluate.judging import Judging, Seen
from condistill.evaluate.media import webp
from condistill.evaluate.pictures import eight_bit, keep, png, resized
from condistill.evaluate.sounds import sampling_rate, wavs
from condistill.files import write_atomic, write_json
from condistill.maths.randomise import Key

if TYPE_CHECKING:
    from condistill.teacher import Samples, Teacher

Advance = Callable[[int], None]
Keep = Callable[[int, Callable[[], Any]], Any]  # number of a batch, what makes it -> the batch, made or remembered


@dataclass(frozen=True)
class Sampled:
    """What one model made of one group of n items.

    Attributes:
        seen: what the judge saw; None without a judge.
        shown: row -> its image (h, w, 3) or video (f, h, w, 3), 8 bit, or the bytes of its sound (k,), for the rows of
            the grid.
        images: (n, h, w, 3) all images, 8 bit, or (n, k) all sounds, as shown, if a metric needs them.
        views: feature -> (n, d) what the backbones saw.
        latents: (n, *latent) x0, if they were asked for.
        bound: path -> (n, ...) what belongs to each x0.
    """

    seen: Seen | None
    shown: Mapping[int, UInt8[np.ndarray, "..."]]
    images: UInt8[np.ndarray, "n ..."] | None
    latents: Float[Tensor, "n *latent"] | None
    bound: Mapping[str, Tensor]
    views: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """What is to be kept of the samples.

    Attributes:
        judge: takes features; None if no metric needs it.
        rows: rows of the grid.
        images, latents: whether to keep all of them.
        backbones: take features.
        views: which features.
        size: what the images are brought to, squared, before a backbone sees them; None leaves them.
        folder: where every image is written, as the backbones see it; None writes none.
    """

    judge: Judging | None = None
    rows: Sequence[int] = ()
    images: bool = False
    latents: bool = False
    backbones: Sequence[Backbone] = ()
    views: frozenset[str] = frozenset()
    size: int | None = None
    folder: Path | None = None

    @property
    def looks(self) -> bool:
        """Whether images are needed."""
        return bool(self.judge or self.images or self.views or self.folder)


@torch.no_grad()
def sample(
    model: Teacher,
    keys: Sequence[Key],
    *,
    name: str,
    seeds: Sequence[int],
    call: Mapping[str, Any],
    batch: int,
    wish: Wish,
    advance: Advance,
    keep: Keep,
) -> Sampled:
    """The model's samples for `keys` on `seeds`, batch by batch with `keep`; only what `wish` names is kept of them."""
    parts: dict[int, Sampled] = {}
    output = "both" if wish.looks or wish.rows else "latent"

    def make(some: slice) -> Sampled:
        made = model.sample(keys[some], seed=seeds[some], call=call, output=output, batch=batch)
        if made.images is None and wish.looks:
            raise UserError(
                f"{type(model.pipeline).__name__} gives no images; use metrics=['kd_gap'], which needs none"
            )
        if not torch.isfinite(made.latents).all() or (made.images is not None and not np.isfinite(made.images).all()):
            raise UserError(f"model {name!r} made samples that are not finite; leave it out or train it again")
        return _kept(made, wish, some.start, keys[some], sampling_rate(model.pipeline, made.images))

    for number in processes.share(-(-len(keys) // batch)):
        some = slice(number * batch, (number + 1) * batch)
        parts[number] = keep(number, partial(make, some))
        advance(len(keys[some]))
    return _whole(processes.gathered(parts), wish)


def _whole(parts: Sequence[Sampled], wish: Wish) -> Sampled:
    """The batches of all processes as one."""
    views = {name: np.concatenate([part.views[name] for part in parts]) for name in parts[0].views}
    return Sampled(
        seen=_joined([part.seen for part in parts if part.seen]),
        shown={row: image for part in parts for row, image in part.shown.items()},
        images=np.concatenate([part.images for part in parts if part.images is not None]) if wish.images else None,
        latents=torch.cat([part.latents for part in parts if part.latents is not None]) if wish.latents else None,
        bound={path: torch.cat([part.bound[path] for part in parts]) for path in parts[0].bound},
        views=finished(wish.backbones, views),
    )


def _kept(made: Samples, wish: Wish, start: int, keys: Sequence[Key], rate: int | None) -> Sampled:
    """What is wished for of one batch, whose first item is number `start`; `rate` is that of sounds."""
    pixels = None if made.images is None else wavs(made.images, rate) if rate else eight_bit(made.images)
    if pixels is not None and (wish.views or wish.folder or wish.size):
        if pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise UserError(f"backbones look at images (n, h, w, 3), and the pipeline gives {pixels.shape}")
        pixels = resized(pixels, wish.size)
        if wish.folder is not None:
            keep(wish.folder, pixels, start)
    here = range(start, start + (0 if pixels is None else len(pixels)))
    shown = pixels if pixels is not None and (rate or pixels.ndim in (4, 5)) else None
    return Sampled(
        seen=wish.judge.look(made.images) if wish.judge and made.images is not None else None,
        shown={} if shown is None else {row: shown[row - start] for row in wish.rows if row in here},
        images=pixels if wish.images else None,
        latents=made.latents if wish.latents else None,
        bound=made.bound if wish.latents else {},
        views=looked_at(wish.backbones, pixels, keys, wish.views) if pixels is not None and wish.views else {},
    )


def _joined(looks: Sequence[Seen]) -> Seen | None:
    if not looks:
        return None
    parts = [np.concatenate([getattr(look, name) for look in looks]) for name in ("concept", "colour", "features")]
    return Seen(*parts)


def slug(name: str) -> str:
    """`name` as a part of a file name: letters, digits, dot, dash and underscore.

    >>> slug("b-base, r=0.5 / new")
    'b-base-r-0.5-new'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"


def write_grid(
    folder: Path, groups: Sequence[Items], rows: Mapping[str, Sequence[int]], shown: Mapping[str, Mapping[str, Sampled]]
) -> Path:
    """The index of the pictures, sounds or videos for the report: PNG, WAV or WebP files beside it.

    Row k of every model has the same key and seed. Samples that are none of the three (embeddings) are left out.

    Args:
        folder: where index.json and the pictures go.
        groups: the items.
        rows: group -> rows shown.
        shown: model -> group -> its samples.
    """
    names: dict[str, dict[str, list[str]]] = {}
    taken: set[str] = set()
    pictured = {items.group: [made[items.group].shown for made in shown.values()] for items in groups}
    rows = {group: [row for row in rows[group] if all(row in made for made in by)] for group, by in pictured.items()}
    for model, by_group in shown.items():
        for items in groups:
            files = names.setdefault(model, {}).setdefault(items.group, [])
            pictures = by_group[items.group].shown
            for place, row in enumerate(rows[items.group]):
                ending, content = _file_of(pictures[row])
                name = _free(f"{slug(model)}-{slug(items.group)}-{place:03d}", ending, taken)
                write_atomic(folder / name, content)
                files.append(name)
    keys = {items.group: [items.keys[row] for row in rows[items.group]] for items in groups}
    return write_json(folder / "index.json", {"groups": keys, "models": names})


def _file_of(shown: UInt8[np.ndarray, "..."]) -> tuple[str, bytes]:
    """The ending and the bytes of a file: of a picture (h, w, 3), a video (f, h, w, 3), or a sound's own bytes (k,)."""
    if shown.ndim == 1:
        return "wav", shown.tobytes()
    return ("webp", webp(shown)) if shown.ndim == 4 else ("png", png(shown))


def _free(stem: str, ending: str, taken: set[str]) -> str:
    """`stem`.`ending`, or with a number where two names look alike once they are file names."""
    name, number = f"{stem}.{ending}", 1
    while name in taken:
        number += 1
        name = f"{stem}~{number}.{ending}"
    taken.add(name)
    return name
