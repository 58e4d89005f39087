"""Condition: everything a denoiser is given besides x_t and t, for b samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """The conditions of b samples, as the denoiser takes them.

    Attributes:
        leaves: path of the denoiser's argument -> (b, ...) tensor, or a list of b tensors where the denoiser takes one;
            what belongs to the key.
        bound: path -> (b, ...) tensor; what belongs to the sample's x0 and is never swapped.
        alike: paths of `leaves` whose rows go into one call only where they have one shape.
        equal: paths of `leaves` whose rows go into one call only where they are equal.
    """

    leaves: Mapping[str, Tensor | Sequence[Tensor]]
    bound: Mapping[str, Tensor] = field(default_factory=dict)
    alike: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()

    def __len__(self) -> int:
        return next((len(rows) for rows in (*self.leaves.values(), *self.bound.values())), 0)

    def groups(self) -> list[slice | Tensor]:
        """The numbers of the samples that can be given to the denoiser together: all of them, or those alike."""
        found: dict[tuple[Any, ...], list[int]] = {}
        for k in range(len(self)):
            shapes = [self.leaves[path][k].shape for path in self.alike]
            values = [tuple(self.leaves[path][k].flatten().tolist()) for path in self.equal]
            found.setdefault((*shapes, *values), []).append(k)
        return [torch.tensor(rows) for rows in found.values()] if len(found) > 1 else [slice(None)]

    def rows(self, index: slice | Tensor) -> Condition:
        """The conditions of some of the samples."""
        chosen = torch.arange(len(self))[index].tolist()
        return replace(
            self,
            leaves={
                path: rows[index] if isinstance(rows, Tensor) else [rows[k] for k in chosen]
                for path, rows in self.leaves.items()
            },
            bound={path: rows[index] for path, rows in self.bound.items()},
        )

    def to(self, device: torch.device | str) -> Condition:
        """The same conditions on another device."""
        return replace(
            self,
            leaves={
                path: rows.to(device) if isinstance(rows, Tensor) else [row.to(device) for row in rows]
                for path, rows in self.leaves.items()
            },
            bound={path: rows.to(device) for path, rows in self.bound.items()},
        )


def in_order(parts: Sequence[Tensor], groups: Sequence[slice | Tensor]) -> Tensor:
    """(b, ...) in the order of the samples, from what each of their groups has; see `Condition.groups`."""
    if len(parts) == 1:
        return parts[0]
    order = torch.cat([torch.as_tensor(group) for group in groups]).argsort()
    return torch.cat(list(parts))[order.to(parts[0].device)]
