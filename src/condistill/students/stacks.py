"""Which stacks of blocks a network has, found by measuring: lower one integer of its config and see what got shorter.

No class is known by name here. Nothing has weights: all of it happens on the meta device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from condistill.errors import UserError
from condistill.students.meta import clean, on_meta, shapes
from condistill.students.remembered import Remembered

# no network has more blocks than this in one stack, so larger integers are widths and vocabularies
MAX_BLOCKS = 256


@dataclass(frozen=True)
class Stack:
    """A config field that says how many blocks there are, and the module lists that it governs.

    Attributes:
        field: name in the config.
        length: its value.
        lists: paths of the module lists that get shorter with it.
        parameters: in those lists.
        entry: where the field is a list with one number per stage, which of them; None where it is one number.
    """

    field: str
    length: int
    lists: tuple[str, ...]
    parameters: int
    entry: int | None = None

    def is_called(self, name: str) -> bool:
        """Whether a user may mean this stack by `name`: its field, a list's path or the last word of it."""
        return name == self.field or any(name in (path, path.rpartition(".")[2]) for path in self.lists)

    def in_config(self, config: Mapping[str, Any], length: int) -> dict[str, Any]:
        """The config with this stack as long as `length`."""
        if self.entry is None:
            return {**config, self.field: length}
        value = list(config[self.field])
        value[self.entry] = length
        return {**config, self.field: value}


# several students of one teacher are planned one after the other, and a network is built for every field of its config
_KNOWN: Remembered[tuple[Stack, ...]] = Remembered()


def find_stacks(cls: type, config: Mapping[str, Any], network: nn.Module | None = None) -> tuple[Stack, ...]:
    """The stacks of a network that can be pruned, the one with most parameters first.

    Args:
        cls: class of the network.
        config: its config.
        network: the same on the meta device, if it is at hand.

    >>> from diffusers import DiTTransformer2DModel
    >>> config = {"num_layers": 3, "num_attention_heads": 2, "attention_head_dim": 8, "sample_size": 4}
    >>> [(stack.field, stack.lists) for stack in find_stacks(DiTTransformer2DModel, config)]
    [('num_layers', ('transformer_blocks',))]
    """
    network = network or on_meta(cls, config)
    own = clean(network.config)  # type: ignore[arg-type]
    question = (cls, repr(sorted(own.items())))
    return _KNOWN.answer(question, lambda: _found(cls, own, network))


def _found(cls: type, own: Mapping[str, Any], network: nn.Module) -> tuple[Stack, ...]:
    fields: list[tuple[str, int | None, Any]] = [(field, None, value) for field, value in own.items()]
    # a number per stage is looked at only where no field governs a whole stack
    return _measured(cls, own, network, fields) or staged_stacks(cls, own, network)


def staged_stacks(cls: type, config: Mapping[str, Any], network: nn.Module) -> tuple[Stack, ...]:
    """The same, governed by one entry of a config field that lists a number for each stage."""
    listed = [(field, value) for field, value in config.items() if isinstance(value, list | tuple)]
    return _measured(cls, config, network, [(field, k, one) for field, value in listed for k, one in enumerate(value)])


def _measured(
    cls: type, config: Mapping[str, Any], network: nn.Module, fields: Sequence[tuple[str, int | None, Any]]
) -> tuple[Stack, ...]:
    found = []
    for field, entry, value in fields:
        if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= MAX_BLOCKS:
            continue
        stack = Stack(field, value, (), 0, entry)
        lists = _shorter(network, cls, config, stack)
        if lists:
            size = sum(p.numel() for path in lists for p in network.get_submodule(path).parameters())
            found.append(replace(stack, lists=lists, parameters=size))
    return tuple(sorted(found, key=lambda stack: -stack.parameters))


def lists_blocks(value: Any, length: int) -> bool:
    """Whether a config's value is a list of block numbers of a stack of that length.

    >>> lists_blocks([0, 2], 3), lists_blocks([0, 3], 3), lists_blocks([1, 2, 2], 3)
    (True, False, False)
    """
    if not isinstance(value, list | tuple) or not value or not all(type(k) is int for k in value):
        return False
    return list(value) == sorted(set(value)) and value[0] >= 0 and value[-1] < length


def _shorter(network: nn.Module, cls: type, config: Mapping[str, Any], stack: Stack) -> tuple[str, ...]:
    length = stack.length
    fewer = stack.in_config(config, length - 1)
    # some classes refuse the number of a block that is not there any more
    named = {n: [k for k in v if k < length - 1] for n, v in config.items() if lists_blocks(v, length)}
    for lowered in (fewer, {**fewer, **named}) if named else (fewer,):
        try:
            other = on_meta(cls, lowered)
        except UserError:
            continue
        before, after = lengths(network), lengths(other)
        lists = tuple(path for path, size in before.items() if after.get(path, size) < size)
        inside = tuple(f"{path}." for path in lists)
        outside = [{k: v for k, v in shapes(n).items() if not k.startswith(inside)} for n in (network, other)]
        # a width may change the number of some blocks as well; that is no stack
        if not lists or outside[0] != outside[1]:
            return ()
        return lists if lowered is fewer else tuple(path for path in lists if before[path] == length)
    return ()


def lengths(network: nn.Module) -> dict[str, int]:
    """Path of each module list -> number of its items."""
    return {path: len(module) for path, module in network.named_modules() if isinstance(module, nn.ModuleList)}
