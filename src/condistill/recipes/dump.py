"""A recipe as it is written into a run folder, and whether a run folder belongs to a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.files import is_leftover, write_atomic
from condistill.lock import NAME as LOCK
from condistill.recipes import strict_yaml
from condistill.recipes.load import FILE
from condistill.recipes.schema import Recipe, checked
from condistill.versions import versions

_OURS = ("# the recipe of this run", "# written by")

# what may change between two calls of one run: how long, how much is said and kept, how the same batch is cut, and
# where D lies (that it is the same D is checked by its manifest).
# The training part is condistill.train.options.FREE_TO_CHANGE; a test keeps them equal.
MAY_CHANGE = (
    "train.steps",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.micro_batch",
    "train.auto_batch",
    "train.skip_not_finite",
    "train.trackers",
    "train.validate_every",
    "train.validate_prompts",
    "data.batch",
    "data.cache",
)


def dump_recipe(recipe: Recipe, *, comments: str = "") -> str:
    """The resolved recipe as YAML; `load_recipe` reads it back equal.

    Args:
        comments: the lines that the recipe opened with, kept because they say how its settings were chosen.
    """
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    head = f"{_OURS[0]} with every default filled in\n{_OURS[1]}: {used}\n"
    return head + comments + strict_yaml.write(_plain(recipe.model_dump(mode="python")))


def opening_comments(text: str) -> str:
    """The comment lines that a recipe begins with, without those that `dump_recipe` writes itself.

    >>> opening_comments("# lr: the best of three\\nname: with\\n# later\\n")
    '# lr: the best of three\\n'
    """
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return "".join(f"{line}\n" for line in lines if not line.startswith(_OURS))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(below) for key, below in value.items()}
    return [_plain(below) for below in value] if isinstance(value, list | tuple) else value


def differences(old: Any, new: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (old, new) of every value that differs between two plain recipes.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    {'a.c': (2, 3)}
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = list(dict.fromkeys([*old, *new]))
        parts = [differences(old.get(key), new.get(key), f"{prefix}{key}.") for key in keys]
        return {key: pair for part in parts for key, pair in part.items()}
    same = old == new and isinstance(old, bool) == isinstance(new, bool)
    return {} if same else {prefix.rstrip("."): (old, new)}


def claim(out: str | Path, recipe: Recipe, *, comments: str = "") -> Path:
    """The run folder `out`, which now holds this recipe and is ready to be made or continued.

    Args:
        out: the folder.
        recipe: what is to be carried out in it.
        comments: the lines that the recipe opened with.

    Raises:
        UserError: the folder holds something else: another recipe's run (with what differs) or no run at all.
            Nothing in it is touched then.
    """
    out = Path(out)
    file = out / FILE
    changed = refuse_others(out, recipe)
    if not file.exists():
        write_atomic(file, dump_recipe(recipe, comments=comments))
    elif changed:
        write_atomic(file, dump_recipe(recipe, comments=opening_comments(file.read_text(encoding="utf-8"))))
    return out


def refuse_others(out: Path, recipe: Recipe) -> dict[str, tuple[Any, Any]]:
    """What differs, without effect on any number, between the recipe that `out` holds and this one; nothing is written.

    Raises:
        UserError: as `claim`.
    """
    file = out / FILE
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder for the run with --out")
    if not file.exists():
        if out.is_dir() and not all(is_ours(path.name) for path in out.iterdir()):
            raise UserError(
                f"{out} is not empty and no run folder (no {FILE}); nothing was touched, choose another --out"
            )
        return {}
    # checked, so that a recipe written before a key existed has that key's default
    old = checked(strict_yaml.read(file), name=str(file))
    changed = differences(_plain(old.model_dump(mode="python")), _plain(recipe.model_dump(mode="python")))
    serious = {key: pair for key, pair in changed.items() if _unprefixed(key) not in MAY_CHANGE}
    if "train.steps" in changed and recipe.train.lr_schedule == "cosine" and any(out.glob("**/checkpoints/step-*")):
        serious["train.steps, on which the cosine schedule depends"] = changed["train.steps"]
    if serious:
        raise UserError(
            f"{out} holds the run of another recipe ({listed(serious)}); nothing was touched, choose another --out"
        )
    return changed


def is_ours(name: str) -> bool:
    """Whether a file of this name is a lock, or what a kill left of a file that was being written."""
    return name == LOCK or is_leftover(name)


def _unprefixed(key: str) -> str:
    return ".".join(key.split(".")[2:]) if key.startswith("compare.") else key


def listed(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """ "key: old -> new" of each."""
    return "; ".join(f"{key}: {_short(old)} -> {_short(new)}" for key, (old, new) in changed.items())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
