"""What `ls` shows of the shipped recipes, and `cp`."""

from __future__ import annotations

from pathlib import Path

from condistill.errors import UserError, unknown_name
from condistill.files import write_atomic
from condistill.recipes.load import shipped


def summary(path: Path) -> str:
    """The first sentence of the comment that a recipe opens with."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or not text:
            break
        words += text.split()
        if text.endswith(".") or ". " in text:
            break
    return (" ".join(words) + " ").partition(". ")[0].strip().rstrip(".")


def copy_shipped(name: str, file: str | Path) -> Path:
    """`file`, now a copy of the shipped recipe.

    Raises:
        UserError: no recipe of that name, or something is at `file` already.
    """
    known, file = shipped(), Path(file)
    if name not in known:
        raise unknown_name("recipe", name, known)
    if file.is_dir():
        file = file / known[name].name
    if file.exists():
        raise UserError(f"{file} exists already and is not overwritten; choose another name")
    return write_atomic(file, known[name].read_bytes())
