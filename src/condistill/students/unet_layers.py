"""`keep=` on a U-Net: its layers, stage by stage, as stacks that measuring finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from condistill.errors import UserError, unknown_name
from condistill.students.depth import misfit_of
from condistill.students.inherit import Choose, counterparts, unet_choice
from condistill.students.meta import on_meta
from condistill.students.stacks import Stack, find_stacks, staged_stacks

# fields that are one number for all stages or one for each
_PER_STAGE = ("layers_per_block", "transformer_layers_per_block")


@dataclass(frozen=True)
class KeptLayers:
    """Which layers of a U-Net stay.

    Attributes:
        config: with these layers only.
        blocks: path of each module list that was named -> the teacher's items that stay.
    """

    config: Mapping[str, Any]
    blocks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def choice(self, otherwise: Choose) -> Choose:
        """The named items where a list was named, `otherwise` elsewhere."""

        def choose(path: str, theirs: nn.ModuleList, ours: nn.ModuleList) -> Sequence[int]:
            return self.blocks[path] if path in self.blocks else otherwise(path, theirs, ours)

        return choose


def kept_layers(
    cls: type, config: Mapping[str, Any], teacher: nn.Module, keep: Mapping[str, tuple[int, ...]]
) -> KeptLayers:
    """The config in which only the named layers stay.

    A down block and the up block across from it share one number in the config, so shortening one shortens the other;
    of the one that was not named, the layers stay that BK-SDM keeps. Layers of a block (its resnets, with an attention
    beside each) go by the path of the block or of either list.

    Args:
        cls: class of the network.
        config: the teacher's.
        teacher: on the meta device.
        keep: module list, block or config field -> the items that stay.

    Raises:
        UserError: no such list, no such item, nothing or all cut, two lists that share a number and differ in it, or a
            layer that does not fit its new place.
    """
    if not keep:
        return KeptLayers(config)
    staged, stacks = _stacks(cls, config, teacher)
    blocks: dict[str, tuple[int, ...]] = {}
    lengths: dict[Stack, tuple[int, str]] = {}
    for name, stay in keep.items():
        stack, lists = _named(cls, name, stacks)
        total = len(teacher.get_submodule(lists[0]))  # type: ignore[arg-type]
        if stay[-1] >= total:
            raise UserError(f"keep={name}:... names layer {stay[-1]}; there are 0 to {total - 1}")
        if len(stay) == total:
            raise UserError(f"keep={name}:... names all {total} layers, which cuts nothing; leave some out")
        length = stack.length - (total - len(stay))
        before, other = lengths.setdefault(stack, (length, name))
        if before != length:
            raise UserError(
                f"keep={other}:... and keep={name}:... share {stack.field}, so that as many layers must go from both"
            )
        if length < 1:
            raise UserError(f"keep={name}:... leaves no layer in {stack.lists[0]}; keep one more")
        blocks |= dict.fromkeys(lists, stay)
    for stack, (length, _) in lengths.items():
        staged = stack.in_config(staged, length)
    kept = KeptLayers(staged, blocks)
    student = on_meta(cls, staged)
    misfit = misfit_of(teacher, student, counterparts(teacher, student, kept.choice(unet_choice("even"))))
    if misfit:
        raise UserError(
            f"the student's tensor {misfit} after this cut; keep the first layer, and going up also the last"
        )
    return kept


def _stacks(cls: type, config: Mapping[str, Any], teacher: nn.Module) -> tuple[dict[str, Any], tuple[Stack, ...]]:
    """The config with a number for each stage, where the class takes one, and the stacks of these."""
    stages = len(config["block_out_channels"])
    numbers = {name: [config[name]] * stages for name in _PER_STAGE if isinstance(config.get(name), int)}
    staged = {**config, **numbers}
    try:
        on_meta(cls, staged)
    except UserError:  # one number for all stages, and no other way
        return dict(config), find_stacks(cls, config, teacher)
    return staged, staged_stacks(cls, staged, teacher)


def _named(cls: type, name: str, stacks: Sequence[Stack]) -> tuple[Stack, list[str]]:
    """The stack that governs the lists called `name`, and those lists."""
    found = []
    for stack in stacks:
        lists = [path for path in stack.lists if name in (path, path.rpartition(".")[0])]
        if lists:
            found.append((stack, lists))
    if len(found) == 1:
        return found[0]
    known = list(dict.fromkeys(path for stack in stacks for path in stack.lists))
    if found:
        raise UserError(f"keep={name}:... may mean several lists; name one of {', '.join(known)}")
    raise unknown_name(f"stack of {cls.__name__}", name, known)
