"""The items of an evaluation: which prompts, in which groups, on which seeds. The same for every model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condistill.corpus import SOURCES, corpus
from condistill.errors import UserError
from condistill.maths import draws
from condistill.maths.randomise import Key

ALL = "all"
_HIGH = 2**31  # seeds that every library takes


@dataclass(frozen=True)
class Items:
    """One group of n items.

    Attributes:
        group: its name.
        keys: n conditions.
        seeds: n seeds, one per image.
        reference_seeds: n other seeds, for the reference images.
    """

    group: str
    keys: tuple[Key, ...]
    seeds: tuple[int, ...]
    reference_seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.keys)


def choose(
    prompts: Any, *, num_items: int | Mapping[str, int] | None, seed: int, split: Any = None
) -> tuple[Items, ...]:
    """The items of every group.

    Args:
        prompts: group -> corpus spec or keys, or one of these, which is the group "all" (or is split by `split`).
        num_items: per group, or one number for each; a group with fewer keys repeats them with new seeds, one with
            more gives a random part of them. As many as there are keys where not given.
        seed: of the choice and of the images' seeds.
        split: key -> group; how one list becomes groups.

    Raises:
        UserError: a group without keys, an unknown group in `num_items`, or a number below 1.
    """
    groups = _groups(prompts, split)
    if isinstance(num_items, Mapping):
        for name in num_items:
            if name not in groups:
                raise UserError(f"num_items names group {name!r}, but the prompts' groups are: {', '.join(groups)}")
    return tuple(_items(name, keys, num_items, seed) for name, keys in groups.items())


def all_keys(prompts: Any) -> Iterator[Key]:
    """Every key of every group of `prompts`, read one after another."""
    for keys in _groups(prompts, None).values():
        yield from (keys[index] for index in range(len(keys)))


def _groups(prompts: Any, split: Any) -> dict[str, Sequence[Key]]:
    if isinstance(prompts, Mapping) and not SOURCES.keys() & prompts.keys():
        if ALL in prompts and len(prompts) > 1:
            raise UserError(f"the group {ALL!r} is made of the other groups by itself; remove it from the prompts")
        groups = {str(name): corpus(spec) for name, spec in prompts.items()}
    else:
        groups = _split(corpus(prompts), split) if split else {ALL: corpus(prompts)}
    if not groups:
        raise UserError("evaluate got no prompts; give group -> prompts, a list of prompts, or a file")
    return groups  # type: ignore[return-value]


def _split(keys: Any, split: Any) -> dict[str, list[Key]]:
    groups: dict[str, list[Key]] = {}
    for index in range(len(keys)):
        groups.setdefault(split(keys[index]), []).append(keys[index])
    return dict(sorted(groups.items()))


def _items(name: str, keys: Sequence[Key], num_items: int | Mapping[str, int] | None, seed: int) -> Items:
    wanted = num_items.get(name) if isinstance(num_items, Mapping) else num_items
    count = len(keys) if wanted is None else int(wanted)
    if len(keys) == 0 or count < 1:
        raise UserError(f"group {name!r} has {len(keys)} prompts and num_items {count}; both must be at least 1")
    numbers = draws.numbers(0, count)
    chosen = draws.permuted(seed, f"evaluate/items/{name}", numbers, len(keys))
    return Items(
        group=name,
        keys=tuple(keys[int(index)] for index in chosen),
        seeds=tuple(draws.integers(seed, f"evaluate/sample/{name}", numbers, _HIGH).tolist()),
        reference_seeds=tuple(draws.integers(seed, f"evaluate/reference/{name}", numbers, _HIGH).tolist()),
    )


def grid_rows(items: Items, count: int, kind: Any = None) -> list[int]:
    """Up to `count` items to show, in order: of different kinds first, then whatever comes.

    Args:
        items: the group.
        count: how many rows the grid has.
        kind: key -> hashable; items of a kind already shown wait.
    """
    kinds = [kind(key) for key in items.keys] if kind else list(range(len(items)))
    seen: set[Any] = set()
    first, later = [], []
    for row, this in enumerate(kinds):
        (later if this in seen else first).append(row)
        seen.add(this)
    return sorted([*first, *later][:count])
