"""Files behind a URL (s3://, gs://, hf://, memory:// ...), read through a folder of copies that stays within a bound.

Whatever fsspec opens can be read; the packages for a protocol (s3fs, gcsfs) are the user's to install.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from condistill.errors import UserError, brief
from condistill.files import GIB, atomic
from condistill.hub import silent

COPIES_GIB = 50.0  # where CONDISTILL_COPIES_GIB is not set


def cache_folder(given: Path | None = None) -> Path:
    """Where converted corpora and copies go: the argument, CONDISTILL_CACHE, or the user's cache folder."""
    if given is not None:
        return given
    if os.environ.get("CONDISTILL_CACHE"):
        return Path(os.environ["CONDISTILL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "condistill"


def is_url(where: Any) -> bool:
    """Whether `where` names something that is not on a disk of this machine.

    >>> is_url("s3://bucket/captions.parquet"), is_url("captions.parquet")
    (True, False)
    """
    return isinstance(where, str) and re.match(r"[a-z][a-z0-9+.-]*://", where) is not None


class RemoteFolder:
    """A folder behind a URL; `fetch` gives the local copy of one of its files.

    Copies are kept for the next process, those that were asked for longest ago are removed when all of them together
    would take more than the bound. One that is open stays readable (Linux and macOS).

    Args:
        url: of the folder.
        cache_dir: where the copies go; see `cache_folder`.
        max_bytes: of all copies together; CONDISTILL_COPIES_GIB, or 50 GiB, where not given.

    Raises:
        UserError: no such folder, no such protocol, or out of reach.
    """

    def __init__(self, url: str, *, cache_dir: Path | None = None, max_bytes: int | None = None):
        self.url, self._all = url.rstrip("/"), cache_folder(cache_dir) / "copies"
        self.max_bytes = _bound() if max_bytes is None else max_bytes
        if url.startswith("hf://") and (why := silent()):
            raise UserError(f"cannot read {url} ({why}); check the connection")
        try:
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(self.url)
            found = self._files.ls(self._root, detail=True)
        except FileNotFoundError:
            raise UserError(f"no such folder: {url}; check the URL") from None
        except (ImportError, OSError, ValueError, RuntimeError) as error:
            raise _unreachable(url, error) from error
        self._about = {str(one["name"]).rstrip("/").rpartition("/")[2]: one for one in found if one["type"] == "file"}

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Path:
        return self.fetch(name)

    @property
    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every file of the folder."""
        return {name: int(one["size"] or 0) for name, one in self._about.items()}

    def local(self, name: str) -> Path:
        """Where the copy of a file is or will be: another one when the file behind the URL was changed."""
        about = self._about.get(name, {})
        changed = [
            about.get(key) for key in ("size", "mtime", "created", "LastModified", "last_modified", "ETag", "etag")
        ]
        digest = hashlib.sha256(f"{self.url}/{name} {changed}".encode(errors="surrogateescape")).hexdigest()[:24]
        return self._all / digest / name

    def fetch(self, name: str) -> Path:
        """The local copy of a file.

        Raises:
            UserError: there is no such file, it is out of reach, or larger than the bound.
        """
        if name not in self._about or "/" in name or name in ("", ".", ".."):
            raise UserError(f"no such file: {self.url}/{name}")
        path, size = self.local(name), self.sizes[name]
        if path.is_file() and path.stat().st_size == size:
            os.utime(path)
            return path
        if size > self.max_bytes:
            raise UserError(
                f"{self.url}/{name} has {size / GIB:.3g} GiB, copies may take {self.max_bytes / GIB:.3g} GiB in all; "
                "set CONDISTILL_COPIES_GIB higher"
            )
        self._make_room(size)
        try:
            with atomic(path) as temporary:
                self._files.get_file(f"{self._root.rstrip('/')}/{name}", str(temporary))
        except UserError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise _unreachable(f"{self.url}/{name}", error) from error
        return path

    def _make_room(self, size: int) -> None:
        copies = [path for path in self._all.glob("*/*") if path.is_file() and path.suffix != ".part"]
        by_age = sorted(((path.stat().st_mtime, path.stat().st_size, path) for path in copies), reverse=True)
        used = sum(length for _, length, _ in by_age)
        while by_age and used + size > self.max_bytes:
            _, length, path = by_age.pop()
            path.unlink(missing_ok=True)
            used -= length


def fetched(url: str, *, cache_dir: Path | None = None) -> Path:
    """The local copy of the file behind a URL.

    Raises:
        UserError: no such file, no such protocol, or out of reach.
    """
    folder, _, name = url.rpartition("/")
    return RemoteFolder(folder, cache_dir=cache_dir).fetch(name)


def _bound() -> int:
    given = os.environ.get("CONDISTILL_COPIES_GIB", "")
    try:
        gib = float(given) if given else COPIES_GIB
    except ValueError:
        raise UserError(f"CONDISTILL_COPIES_GIB must be a number, got {given!r}") from None
    return int(gib * GIB)


def _unreachable(url: str, error: Exception) -> UserError:
    return UserError(
        f"cannot read {url} ({brief(error)}); check the URL, the connection, and that the package for "
        "its protocol is installed (s3fs for s3://, gcsfs for gs://)"
    )
