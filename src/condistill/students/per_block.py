"""What a network has once for every block, beside the blocks: lists of its config, and module lists of several stacks.

Where two stacks run one after the other, such a list has the entries of the first stack's blocks, then the second's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from condistill.students.stacks import Stack, lists_blocks

# path of a list of blocks -> the teacher's blocks that stay, in order
Stay = Callable[[str], Sequence[int]]


def in_order(network: nn.Module, stacks: Sequence[Stack]) -> list[Stack]:
    """The stacks that have a list of their own, with an item for each block, in the network's order."""
    lists = {path: part for path, part in network.named_modules() if isinstance(part, nn.ModuleList)}
    owners = {own_list(s, stacks): s for s in stacks}
    return [owners[path] for path, part in lists.items() if path in owners and len(part) == owners[path].length]


def own_list(stack: Stack, stacks: Sequence[Stack]) -> str:
    """The stack's first list that no other stack makes shorter; "" if it has none."""
    others = {path for other in stacks if other is not stack for path in other.lists}
    return next((path for path in stack.lists if path not in others), "")


def shared_items(path: str, length: int, ordered: Sequence[Stack], stay: Stay) -> list[int] | None:
    """The items of a module list of several stacks that stay; those after the last block's are kept.

    None if the list belongs to one stack, or has fewer items than its stacks have blocks.
    """
    governing = [stack for stack in ordered if path in stack.lists]
    if len(governing) < 2 or length < sum(stack.length for stack in governing):
        return None
    return joined(governing, ordered, stay) + list(range(sum(stack.length for stack in governing), length))


def joined(some: Sequence[Stack], ordered: Sequence[Stack], stay: Stay) -> list[int]:
    """The blocks of some stacks that stay, counted through all of them."""
    found, start = [], 0
    for stack in some:
        found += [start + k for k in stay(own_list(stack, ordered))]
        start += stack.length
    return found


def entries(config: Mapping[str, Any], ordered: Sequence[Stack], stay: Stay) -> dict[str, list[Any]]:
    """Config field -> its entries for the blocks that stay, of every list with one entry for each block of all stacks.

    A list of block numbers is none.

    >>> stacks = [Stack("num_layers", 2, ("blocks",), 1), Stack("num_single_layers", 3, ("single",), 1)]
    >>> kept = {"blocks": [1], "single": [0, 2]}
    >>> entries({"num_layers": 2, "text_layers": [4, 5, 6, 7, 8], "axes": [8, 4]}, stacks, lambda path: kept[path])
    {'text_layers': [5, 6, 8]}
    """
    length = sum(stack.length for stack in ordered)
    listed = {name: value for name, value in config.items() if isinstance(value, list | tuple)}
    blocks = joined(ordered, ordered, stay)
    return {
        name: [value[k] for k in blocks]
        for name, value in listed.items()
        if len(value) == length and not lists_blocks(value, length)
    }
