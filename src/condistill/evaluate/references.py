"""Reference images that the user gives: arrays, a folder, or the statistics of pytorch-fid."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from condistill import processes
from condistill.errors import UserError
from condistill.evaluate import pictures
from condistill.evaluate.backbones import Backbone, looked_at
from condistill.files import sha256
from condistill.maths.distances import Gaussian
from condistill.pictures import files_in

STATISTICS = {"mu", "sigma"}  # what pytorch-fid writes


@dataclass(frozen=True)
class Reference:
    """What one group is compared with.

    Attributes:
        identity: what it is, for the protocol: hash and number of images.
        images: (m, h, w, 3) in [0, 1]; None if they are files or not known.
        files: the images' files.
        gaussian: of Inception's features, where nothing else is known.
    """

    identity: str
    images: Float[np.ndarray, "m h w 3"] | None = None
    files: tuple[Path, ...] = ()
    gaussian: Gaussian | None = None

    def all_images(self) -> Float[np.ndarray, "m h w 3"]:
        """The images at once, for a judge.

        Raises:
            UserError: only statistics are known, or the images differ in size.
        """
        if self.images is not None:
            return self.images
        found = list(pictures.read(self.files, None))
        if not found or len({image.shape for image in found}) > 1:
            raise UserError("the judge needs reference images of one size; give a folder or an .npz of such images")
        return np.concatenate(found).astype(np.float32) / 255

    def __len__(self) -> int:
        return len(self.files if self.images is None else self.images)

    def some(self, rows: slice, size: int | None) -> Iterator[UInt8[np.ndarray, "b h w 3"]]:
        """The images of some rows as bytes, those of one shape together."""
        if self.images is not None:
            yield pictures.resized(pictures.eight_bit(self.images[rows]), size)
            return
        for _, alike in groupby(pictures.read(self.files[rows], size), key=lambda image: image.shape):
            yield np.concatenate(list(alike))


def given(reference: Any, groups: Sequence[str]) -> dict[str, Reference]:
    """Group -> what it is compared with.

    Args:
        reference: a folder of images, an .npz of statistics (mu, sigma) or of images per group; or a mapping of group
            -> one of these or images (m, h, w, 3) in [0, 1]. One folder or statistic serves all groups.
        groups: the groups of the evaluation.

    Raises:
        UserError: nothing there, no images, or a group without reference.
    """
    if isinstance(reference, str | Path):
        found = _read(Path(reference))
        if isinstance(found, Reference):
            return dict.fromkeys([*groups, "all"], found)
    else:
        found = {str(group): _one(value) for group, value in reference.items()}
    for group in groups:
        if group not in found:
            raise UserError(f"reference has no images for group {group!r}; it has {', '.join(found)}")
    return found


def _one(value: Any) -> Reference:
    if not isinstance(value, str | Path):
        return _of_images(np.asarray(value))
    found = _read(Path(value))
    if not isinstance(found, Reference):
        raise UserError(f"{value} holds groups of images; give it as the whole reference, not as that of one group")
    return found


def _of_images(images: np.ndarray) -> Reference:
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
    return Reference(f"{len(images)} images, sha256 {digest}", images=images)


def _read(path: Path) -> Reference | dict[str, Reference]:
    if path.is_dir():
        files = tuple(files_in(path))
        listing = "\n".join(f"{file.name} {sha256(file)}" for file in files)
        return Reference(f"{len(files)} images, sha256 {hashlib.sha256(listing.encode()).hexdigest()}", files=files)
    arrays = _arrays(path)
    if arrays.keys() >= STATISTICS:
        mu, sigma = (np.asarray(arrays[name], dtype=np.float64) for name in ("mu", "sigma"))
        if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
            raise UserError(f"{path}: mu has shape {mu.shape} and sigma {sigma.shape}; (d,) and (d, d) are wanted")
        return Reference(f"statistics, sha256 {sha256(path)}", gaussian=Gaussian(mu, sigma))
    for group, images in arrays.items():
        if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
            raise UserError(f"{path}: {group} has shape {images.shape}; images of shape (m, h, w, 3) are wanted")
    scaled = {g: a.astype(np.float32) / (255 if a.dtype == np.uint8 else 1) for g, a in arrays.items()}
    return {group: _of_images(images) for group, images in scaled.items()}


# whatever numpy and zipfile raise on a damaged archive; a RuntimeError where it is encrypted or of a later kind
UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"no such reference file: {path}") from None
    except (*UNREADABLE, AttributeError) as error:
        raise UserError(f"{path} is no .npz archive of images ({error}); write one with numpy.savez") from error


def views(
    reference: Reference, backbones: Sequence[Backbone], wanted: frozenset[str], *, size: int | None, batch: int
) -> dict[str, np.ndarray | Gaussian]:
    """Feature -> that of the reference images, or their Gaussian.

    Raises:
        UserError: statistics, and a metric of another network than Inception.
    """
    if reference.gaussian is not None:
        others = sorted(wanted - {"inception"})
        if others:
            raise UserError(
                f"the reference holds statistics of Inception's features, and {', '.join(others)} is wanted as well; "
                "give a folder of images, or leave out the metrics that need it"
            )
        return {"inception": reference.gaussian}
    parts: dict[int, list[dict[str, np.ndarray]]] = {}
    for number in processes.share(-(-len(reference) // batch)):
        rows = slice(number * batch, (number + 1) * batch)
        parts[number] = [looked_at(backbones, images, None, wanted) for images in reference.some(rows, size)]
    each = [found for part in processes.gathered(parts) for found in part]
    return {name: np.concatenate([found[name] for found in each]) for name in each[0]}
