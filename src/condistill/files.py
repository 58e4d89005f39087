"""Files that are either whole or not there: written beside, synchronised, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError
from condistill.owner import WORD, Owner, of_word

if TYPE_CHECKING:
    from torch import Tensor

GIB = 1024**3
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
    temporary = beside(path)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    with full_disk_said(path):
        try:
            yield temporary
            _sync_file(temporary)
            temporary.chmod(0o644)  # safetensors makes a file of its own there, for its owner alone
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block ends well; what stood there goes.

    Every file in it is synchronised before. A kill between the two renames leaves no folder at `path`, never half of
    one: whoever writes it says elsewhere, and later, that it is done.

    Raises:
        UserError: the disk is full; whatever stood at `path` is untouched.
    """
    path = Path(path)
    temporary = beside(path)
    temporary.mkdir(parents=True)
    with full_disk_said(path):
        try:
            yield temporary
            for place, _, names in os.walk(temporary):
                for name in names:
                    _sync_file(Path(place, name))
                _sync_folder(Path(place))
            remove_folder(path)
            os.rename(temporary, path)
            _sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Nothing is left of the folder `path`; it is gone at once, so that half of it is never taken for the whole."""
    aside = beside(path)
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside, ignore_errors=True)


# .NAME.OWNER.RANDOM.part, so that whoever comes later knows whether anybody is still writing it
_PART = re.compile(rf"\..+\.({WORD})\.[0-9a-f]{{8}}\.part")
_OLD_SECONDS = 24 * 3600.0


def beside(path: Path) -> Path:
    """A new temporary name beside `path` that says whose it is; a leftover of a process that is gone is swept."""
    word = Owner.of_this_process().word()
    return path.with_name(f".{path.name}.{word}.{uuid.uuid4().hex[:8]}.part")


def is_leftover(name: str) -> bool:
    """Whether a file of this name is one that a kill may have left where a file was being written.

    >>> is_leftover(".a.json.7-123-0123abcd.89abcdef.part"), is_leftover("a.json")
    (True, False)
    """
    return _PART.fullmatch(name) is not None


def sweep(*folders: Path) -> int:
    """How many temporary files and folders, directly in `folders`, were removed: those whose process is gone.

    Those of another machine, whose processes cannot be looked at, go when they are a day old.
    """
    num_removed = 0
    for folder in folders:
        for path in list(folder.iterdir()) if folder.is_dir() else ():
            found = _PART.fullmatch(path.name)
            owner = of_word(found[1]) if found else None
            if owner is not None and _is_left(path, owner):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                num_removed += 1
    return num_removed


def _is_left(path: Path, owner: Owner) -> bool:
    try:
        is_gone, age = owner.is_gone(), time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    return age > _OLD_SECONDS if is_gone is None else is_gone


def _sync_file(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# no space, no quota, and a file larger than the file system or `ulimit -f` allows
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# libraries report a full disk as an error of their own, with the system's words in it
_FULL_WORDS = ("No space left", "Disk quota exceeded", "File too large", *(f"os error {code}" for code in FULL))


@contextmanager
def full_disk_said(path: str | Path) -> Iterator[None]:
    """A block in which a full disk, whoever notices it, is one clear error that names `path`.

    Raises:
        UserError: the disk is full.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else None
        if code in FULL or (code is None and any(word in str(error) for word in _FULL_WORDS)):
            raise disk_full(path) from error
        raise


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
        save_file(whole, temporary, dict(metadata or {}))
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


def each_tensor(path: str | Path) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) one by one, so that a file of any size needs the memory of its largest tensor.

    Raises:
        UserError: as `load_tensors`.
    """
    from safetensors import safe_open

    names = tensor_names(path)
    while names:
        # opened anew now and then: what was mapped counts as used until the file is closed
        with safe_open(str(path), framework="pt") as file:
            num_bytes = 0
            while names and num_bytes < 64 * MIB:
                tensor = file.get_tensor(names[0])
                num_bytes += tensor.nbytes
                yield names.pop(0), tensor
                del tensor


def tensor_names(path: str | Path) -> list[str]:
    """The names of the tensors in a safetensors file.

    Raises:
        UserError: as `load_tensors`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return list(file.keys())
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
