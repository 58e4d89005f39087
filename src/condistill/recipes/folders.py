"""Output folders that must be new."""

from __future__ import annotations

from pathlib import Path

from condistill.errors import UserError
from condistill.recipes.dump import is_ours


def new_folder(out: str | Path) -> Path:
    """`out`, if nothing is there yet but perhaps an empty folder.

    Raises:
        UserError: something is there.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or not all(is_ours(path.name) for path in out.iterdir())):
        raise UserError(f"{out} exists and is not empty; nothing was touched, choose another --out")
    return out
