"""Where a backbone's weights are, what they are, and how they are read without running anything that is in them."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condistill import hub
from condistill.errors import UserError, brief
from condistill.files import load_tensors, sha256

PICKLED = (".pth", ".pt", ".bin", ".ckpt")
_PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class Weights:
    """The files of one backbone.

    Attributes:
        folder: where its configuration is.
        files: its weights.
        named: as the user named it.
    """

    folder: Path
    files: tuple[Path, ...]
    named: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights; of the files' hashes where there are several."""
        each = [sha256(file) for file in self.files]
        return each[0] if len(each) == 1 else hashlib.sha256(" ".join(each).encode()).hexdigest()

    def has(self, name: str) -> bool:
        """Whether the folder has a file of that name."""
        return (self.folder / name).is_file()

    def tensors(self) -> dict[str, Tensor]:
        """Name -> tensor.

        A pickled file is read only because the user named that very file, and with torch's `weights_only`, which
        makes tensors and runs no code.

        Raises:
            UserError: a damaged file, or a pickle of anything but tensors.
        """
        if any(file.suffix == ".safetensors" for file in self.files):
            return {name: t for file in self.files for name, t in load_tensors(file)[0].items()}
        (file,) = self.files
        try:
            loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{file} holds no plain weights ({reason}); convert it to safetensors") from error
        loaded = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
        if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
            raise UserError(f"{file} holds {type(loaded).__name__}; a mapping of names to tensors is wanted")
        return dict(loaded)


def find(where: str | Path, wanted: str) -> Weights:
    """The files that the user named.

    Args:
        where: a weights file, a folder that holds safetensors, or a hub id (owner/name), which alone downloads.
        wanted: which file this should be, for the message.

    Raises:
        UserError: nothing there, or a folder with nothing but pickles.
    """
    path = Path(where).expanduser()
    if path.is_file():
        if path.suffix != ".safetensors" and path.suffix not in PICKLED:
            raise UserError(f"{path} is no weights file; wanted: {wanted}")
        return Weights(path.parent, (path,), str(where))
    is_hub_id = str(where).count("/") == 1 and not str(where).startswith((".", "/", "~")) and not path.parent.is_dir()
    folder = _downloaded(str(where)) if is_hub_id else path
    if not folder.is_dir():
        raise UserError(f"no such file or folder: {where}; wanted: {wanted}")
    files = tuple(sorted(folder.glob("*.safetensors")))
    if files:
        return Weights(folder, files, str(where))
    pickles = [file.name for file in sorted(folder.iterdir()) if file.suffix in PICKLED]
    if pickles:
        raise UserError(
            f"{folder} has pickled weights only ({', '.join(pickles)}), and a pickle can run code; convert them to "
            "safetensors, or name the file itself, which is then read as plain tensors (weights_only)"
        )
    raise UserError(f"{folder} holds no weights; wanted: {wanted}")


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    why = hub.silent()
    try:
        return Path(snapshot_download(name, allow_patterns=list(_PATTERNS), local_files_only=bool(why)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"{name} could not be fetched from the hub ({why or brief(error)}); check the connection, or give a local "
            "folder or file"
        ) from error
