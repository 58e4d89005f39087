"""Files that are either whole or not there: written beside, synchronised, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MIB = 1024 * 1024


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well.

    The file and its folder are synchronised before and after the rename, so a kill or a power cut leaves
    the old file or the new one, never half of one.

    Raises:
        UserError: the disk is full; whatever stood at `path` is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_full(path: str | Path) -> UserError:
    """The error for a full disk, naming the file that did not fit."""
    return UserError(
        f"no space left on the disk while writing {path}; nothing already written is lost: "
        "free some space and run the same command again"
    )


def write_atomic(path: str | Path, data: bytes | str) -> Path:
    """`path`, now holding exactly `data` (text as UTF-8)."""
    with atomic(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return Path(path)


def write_json(path: str | Path, obj: Any) -> Path:
    """`path`, now holding `obj` as indented JSON; not-a-number is refused rather than written as invalid JSON."""
    return write_atomic(path, json.dumps(obj, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """The object in a JSON file.

    Raises:
        UserError: no such file, not UTF-8, or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; a JSON file is wanted") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or an integer of thousands of digits
        raise UserError(f"{path} is not readable as JSON ({error}); remove it or restore it from a copy") from error


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """`path`, now a safetensors file of contiguous CPU copies of `tensors`."""
    from safetensors.torch import save_file

    whole = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(whole, temporary, dict(metadata or {}))
        except Exception as error:
            # safetensors reports a full disk as its own error type, with the system's words in it
            if "No space left" in str(error) or free_bytes(Path(path).parent) < MIB:
                raise disk_full(path) from error
            raise
    return Path(path)


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        UserError: no such file, or its header lies about its contents.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or no safetensors file ({error})") from error


def sha256(path: str | Path) -> str:
    """The file's SHA-256 as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def free_bytes(folder: str | Path) -> int:
    """Bytes free for us on the disk of `folder`, or of its nearest existing parent."""
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_free(folder: str | Path, num_bytes: int, what: str) -> None:
    """Nothing, if `num_bytes` fit on the disk of `folder`.

    Raises:
        UserError: they do not, with both sizes.
    """
    free = free_bytes(folder)
    if free < num_bytes:
        raise UserError(
            f"{what} needs about {num_bytes / MIB:.0f} MiB but {free / MIB:.0f} MiB are free in {folder}; "
            "free some space or choose another folder"
        )
