"""Leaves: a denoiser's nested arguments as one level of paths, and which rows of a leaf belong to which item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from condistill.errors import UserError

Leaves = dict[str, Any]


def flatten(arguments: Mapping[str, Any], prefix: str = "", lists: frozenset[str] = frozenset()) -> Leaves:
    """Nested mappings and sequences as one level of dotted paths.

    A list of plain numbers stays one leaf, and so do the lists at `lists`, but for those whose entries are sequences
    of tensors: what is first in all entries is one leaf, what is second another.

    >>> flatten({"t": 1, "cond": {"text": 2, "ids": [3]}, "many": [{"a": 4}]})
    {'t': 1, 'cond.text': 2, 'cond.ids': [3], 'many.0.a': 4}
    """
    leaves: Leaves = {}
    for name, value in arguments.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            leaves.update(flatten(value, path + ".", lists))
        elif is_branch(value) and path not in lists:
            leaves.update(flatten({str(k): v for k, v in enumerate(value)}, path + ".", lists))
        elif path in lists and _is_nested(value):
            leaves.update({f"{path}.{k}": list(column) for k, column in enumerate(zip(*value, strict=True))})
        else:
            leaves[path] = value
    return leaves


def rebuild(template: Any, leaves: Leaves, prefix: str = "", lists: frozenset[str] = frozenset()) -> Any:
    """`template` (nested arguments) with every leaf replaced by the one of `leaves` at its path."""
    if isinstance(template, Mapping):
        return {name: rebuild(value, leaves, f"{prefix}{name}.", lists) for name, value in template.items()}
    if is_branch(template) and prefix[:-1] not in lists:
        return type(template)(rebuild(value, leaves, f"{prefix}{k}.", lists) for k, value in enumerate(template))
    if prefix[:-1] in lists and _is_nested(template):
        columns = [leaves[f"{prefix}{k}"] for k in range(len(template[0]))]
        return type(template)(type(template[0])(entry) for entry in zip(*columns, strict=True))
    return leaves[prefix[:-1]]


def _is_nested(value: Any) -> bool:
    """Whether every entry of a list is itself a sequence, all of one length, with tensors among them."""
    if not isinstance(value, list | tuple) or not all(isinstance(one, list | tuple) for one in value):
        return False
    return len({len(one) for one in value}) == 1 and any(isinstance(part, Tensor) for one in value for part in one)


def is_branch(value: Any) -> bool:
    """Whether a value is a sequence that holds more than plain numbers and words."""
    return isinstance(value, list | tuple) and any(isinstance(v, Tensor | list | tuple | Mapping) for v in value)


def lists_by_item(pair: Any, alone: Any, prefix: str = "") -> frozenset[str]:
    """Paths of the lists that hold one entry for each item: twice as many entries for two keys as for one.

    >>> sorted(lists_by_item({"x": [1, 2], "size": [8, 8]}, {"x": [1], "size": [8, 8]}))
    ['x']
    """
    if isinstance(pair, Mapping) and isinstance(alone, Mapping):
        found = [lists_by_item(value, alone[name], f"{prefix}{name}.") for name, value in pair.items() if name in alone]
        return frozenset().union(*found)
    if isinstance(pair, list | tuple) and isinstance(alone, list | tuple):
        if len(pair) == 2 * len(alone) > 0:
            return frozenset([prefix[:-1]])
        found = [lists_by_item(a, b, f"{prefix}{k}.") for k, (a, b) in enumerate(zip(pair, alone, strict=False))]
        return frozenset().union(*found)
    return frozenset()


def lists_like_x_t(arguments: Mapping[str, Any], sample: Tensor) -> frozenset[str]:
    """Paths of the lists with an entry for each row of x_t, where x_t itself is given as such a list; for one item.

    >>> text, x = [torch.zeros(3, 8), torch.zeros(2, 8)], [torch.zeros(4, 1, 6), torch.zeros(4, 1, 6)]
    >>> sorted(lists_like_x_t({"x": x, "text": text, "layers": [torch.zeros(2)]}, torch.zeros(1, 4, 6)))
    ['text', 'x']
    """
    lists = {
        name: value
        for name, value in arguments.items()
        if is_branch(value) and all(isinstance(one, Tensor) for one in value)
    }
    counts = {len(value) for value in lists.values() if all(one.numel() == sample.numel() for one in value)}
    return frozenset(name for name, value in lists.items() if len(value) in counts)


@dataclass(frozen=True)
class Rows:
    """How the rows of a leaf belong to items.

    Attributes:
        blocks: times that the batch is repeated (2 where guidance doubles it).
        block: the conditional one.
        per_item: consecutive rows of one item (the frames of a video, say).
        is_list: the leaf is a list with an entry per row, not a tensor.
        axis: of the rows in a tensor (hidden states of all layers of a text encoder are stacked before the batch).
        is_shared: the leaf has no rows; all items of a call have it together.
    """

    blocks: int = 1
    block: int = 0
    per_item: int = 1
    is_list: bool = False
    axis: int = 0
    is_shared: bool = False

    def item(self, value: Any, k: int, n: int, block: int | None = None) -> Any:
        """What item k of n has of a recorded leaf: (...), or (per_item, ...) where it has several rows."""
        if self.is_shared:
            return value
        start = ((self.block if block is None else block) * n + k) * self.per_item
        if self.axis and isinstance(value, Tensor):
            value = value.movedim(self.axis, 0)
        if self.per_item == 1:
            return value[start]
        return value[start : start + self.per_item]

    def joined(self, rows: Sequence[Any] | Tensor) -> Any:
        """A leaf of one block, from what each of b items has.

        Raises:
            UserError: items that are to share a leaf have different ones.
        """
        if self.is_shared:
            if any(not torch.equal(row, rows[0]) for row in rows):
                raise UserError("keys of one length give the denoiser different values of what a batch shares")
            return rows[0].tolist() if self.is_list else rows[0]
        if self.is_list:
            listed = [row if isinstance(row, Tensor) or not hasattr(row, "item") else row.item() for row in rows]
            flat = listed if self.per_item == 1 else [entry for row in listed for entry in row]
            return [entry.item() if isinstance(entry, Tensor) and entry.ndim == 0 else entry for entry in flat]
        value = rows if isinstance(rows, Tensor) else torch.stack(list(rows))
        value = value if self.per_item == 1 else value.flatten(0, 1)
        # some denoisers view what they are given
        return (value.movedim(0, self.axis) if self.axis else value).contiguous()


def num_rows(value: Any) -> int | None:
    """Rows of a leaf; None if it is no tensor or list with rows."""
    if isinstance(value, Tensor):
        return value.shape[0] if value.ndim else None
    return len(value) if isinstance(value, list | tuple) else None


def rows_of(pair: Any, alone: Any, blocks: int) -> Rows | None:
    """How a leaf's rows belong to items, from recordings of two items and of one; None if it has no rows per item."""
    if isinstance(pair, Tensor) and isinstance(alone, Tensor):
        if pair.ndim != alone.ndim:
            return None
        twice = [k for k, (two, one) in enumerate(zip(pair.shape, alone.shape, strict=True)) if two == 2 * one]
        if not twice:
            return None
        axis, one = twice[0], alone.shape[twice[0]]
        own = blocks if one % blocks == 0 else 1
        return Rows(blocks=own, per_item=one // own, axis=axis)
    two, one = num_rows(pair), num_rows(alone)
    if isinstance(pair, Tensor) or isinstance(alone, Tensor) or not two or not one or two != 2 * one:
        return None
    own = blocks if one % blocks == 0 else 1
    return Rows(blocks=own, per_item=one // own, is_list=True)
