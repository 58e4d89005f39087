"""Pictures on their way to a backbone: bytes, sizes, files.

>>> resized(np.zeros((1, 8, 8, 3), dtype=np.uint8), 4).shape
(1, 4, 4, 3)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from condistill.errors import UserError
from condistill.files import write_atomic

FILTER = "bicubic"  # Pillow's; as the images and statistics behind the paper's numbers were made


def eight_bit(images: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Images in [0, 1] as bytes, rounded as diffusers rounds them."""
    return (np.clip(images, 0.0, 1.0) * 255).round().astype(np.uint8)


def resized(images: UInt8[np.ndarray, "n h w 3"], size: int | None) -> UInt8[np.ndarray, "n h w 3"]:
    """The images at `size` x `size`, by Pillow's bicubic filter; as they are where they have it or none is given."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    from PIL import Image

    squares = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(square) for square in squares])


def prepared(
    images: UInt8[np.ndarray, "n h w 3"], size: int, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "n 3 s s"]:
    """The images as a vision network was trained to see them: shortest side to `size`, middle square, normalised."""
    from PIL import Image

    height, width = images.shape[1:3]
    scale = size / min(height, width)
    shape = (round(width * scale), round(height * scale))
    left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
    squares = [
        np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BICUBIC))[top : top + size, left : left + size]
        for image in images
    ]
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255  # (n, 3, s, s)
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def png(image: UInt8[np.ndarray, "h w ..."]) -> bytes:
    """The image as the bytes of a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def keep(folder: Path, images: UInt8[np.ndarray, "n h w 3"], start: int) -> None:
    """The images as 000000.png, 000001.png, ... in `folder`, the first one numbered `start`."""
    for number, image in enumerate(images, start):
        write_atomic(folder / f"{number:06d}.png", png(image))


def read(paths: Sequence[Path], size: int | None) -> Iterator[UInt8[np.ndarray, "1 h w 3"]]:
    """Each image, (1, h, w, 3), at `size` x `size` where that is given.

    Raises:
        UserError: a file that is no image.
    """
    from PIL import Image, UnidentifiedImageError

    for path in paths:
        try:
            with Image.open(path) as picture:
                image = np.asarray(picture.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise UserError(f"{path} cannot be read as an image ({error}); remove it or restore it") from error
        yield resized(image[None], size)
