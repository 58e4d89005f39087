"""A call argument with another picture for every sample: what is painted anew, a control picture, a first frame.

>>> from PIL import Image
>>> pictures = Pictures([Image.new("RGB", (8, 8), c) for c in ("red", "green", "blue")])
>>> len(pictures), pictures.drawn(1, 0) is pictures.drawn(1, 0)
(3, True)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condistill.errors import UserError, brief

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class Pictures:
    """Pictures of a folder or of a sequence; each sample draws one by its own seed.

    Several arguments of a call with equally many pictures (a picture and its mask) draw the same number, so files that
    belong together have the same place in the order of names. A picture is bound to its sample: with the latent it goes
    into D, and no swap exchanges it.
    """

    def __init__(self, source: str | Path | Sequence[Any], *, sha256: str | None = None, num: int | None = None):
        """
        Args:
            source: a folder with .png, .jpg, .jpeg, .webp or .bmp files, or the pictures themselves.
            sha256, num: what is known of pictures of which only the first is still here.

        Raises:
            UserError: there are none.
        """
        self._items: list[Any]
        if isinstance(source, str | Path):
            self._items = list(files_in(Path(source).expanduser()))
        else:
            self._items = list(source)
        if not self._items:
            raise UserError("got no pictures; give some, or a folder of them")
        self._num, self._sha256 = num or len(self._items), sha256

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, k: int) -> Any:
        if k >= len(self._items):
            raise UserError(
                f"picture {k} of {self._num} is not here: of pictures that were read with D only the first is"
            )
        item = self._items[k]
        return _opened(item) if isinstance(item, Path) else item

    def __str__(self) -> str:
        return f"Pictures(num={self._num}, sha256={self.sha256})"

    def drawn(self, seed: int, number: int) -> Any:
        """The picture of the sample that draws by (seed, number)."""
        from condistill.maths.draws import integers, numbers

        return self[int(integers(seed, "picture", numbers(number, 1), len(self))[0])]

    @property
    def sha256(self) -> str:
        """16 hex digits of the names and sizes of the files, or of the pictures' bytes."""
        if self._sha256 is None:
            parts = [_identity(item) for item in self._items]
            self._sha256 = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        return self._sha256


def drawn(call: Mapping[str, Any], seed: int, number: int) -> dict[str, Any]:
    """The call with the pictures of one sample."""
    return {name: v.drawn(seed, number) if isinstance(v, Pictures) else v for name, v in call.items()}


def first(call: Mapping[str, Any]) -> dict[str, Any]:
    """The call with the first picture of each: what is at hand wherever D is."""
    return {name: value[0] if isinstance(value, Pictures) else value for name, value in call.items()}


def of_recipe(call: Mapping[str, Any]) -> dict[str, Any]:
    """The call of a recipe, in which `{pictures: FOLDER}` stands for the pictures of a folder.

    Raises:
        UserError: a folder without any.
    """
    return {name: Pictures(v["pictures"]) if says_pictures(v) else v for name, v in call.items()}


def says_pictures(value: Any) -> bool:
    """Whether a value in a recipe's call stands for the pictures of a folder."""
    return isinstance(value, Mapping) and list(value) == ["pictures"] and isinstance(value["pictures"], str)


def files_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by name.

    Raises:
        UserError: no such folder, or there are none.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder of pictures: {folder}")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not found:
        raise UserError(f"no images in {folder}; files ending in {', '.join(ENDINGS)} are wanted")
    return found


def _opened(path: Path) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("L" if image.mode in ("1", "L") else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is no picture that can be read ({brief(error)}); take it out of the folder") from error


def _identity(item: Any) -> str:
    if isinstance(item, Path):
        return f"{item.name} {item.stat().st_size}"
    content = item.tobytes() if hasattr(item, "tobytes") else repr(item).encode()  # of Pillow and numpy; of others
    return hashlib.sha256(content).hexdigest()
