"""Where every tensor of the student comes from. One that nobody can account for is an error, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from condistill.errors import UserError
from condistill.students.channels import Channels
from condistill.students.meta import shapes
from condistill.students.plan import Origin, Part

# (path of the list, teacher's length, student's length) -> the teacher's items that stay, in order
Choose = Callable[[str, nn.ModuleList, nn.ModuleList], Sequence[int]]


def counterparts(teacher: nn.Module, student: nn.Module, choose: Choose) -> dict[str, str]:
    """Path of each module of the student -> its counterpart in the teacher ("" is the network itself).

    Raises:
        UserError: a list of the student is longer than the teacher's.
    """
    found: dict[str, str] = {}

    def walk(theirs: nn.Module, ours: nn.Module, source: str, path: str) -> None:
        found[path] = source
        for name, child in ours.named_children():
            inner = f"{path}.{name}".lstrip(".")
            partner = theirs._modules.get(name)
            if partner is None:
                continue
            if isinstance(child, nn.ModuleList) and isinstance(partner, nn.ModuleList) and len(child) != len(partner):
                found[inner] = f"{source}.{name}".lstrip(".")
                if len(child) > len(partner):
                    raise UserError(
                        f"the student would have {len(child)} blocks in {inner}, where the teacher has {len(partner)}: "
                        "the spec is for a larger network; try depth=0.5"
                    )
                for k, item in zip(choose(inner, partner, child), range(len(child)), strict=True):
                    walk(partner[k], child[item], f"{found[inner]}.{k}", f"{inner}.{item}")
            else:
                walk(partner, child, f"{source}.{name}".lstrip("."), inner)

    walk(teacher, student, "", "")
    return found


def unet_choice(chosen_by: str) -> Choose:
    """Which layers of a U-Net stay: the first of a down block; the first and the last of an up block; of the stages
    the outer ones; of the transformer blocks evenly spread ones or the leading ones.

    Source: BK-SDM. The last layer of an up block takes the skip connection of another width, so it must stay.
    """

    def choose(path: str, theirs: nn.ModuleList, ours: nn.ModuleList) -> Sequence[int]:
        n, m = len(theirs), len(ours)
        if path == "up_blocks":
            return range(n - m, n)
        if path.startswith("up_blocks.") and path.rpartition(".")[2] in ("resnets", "attentions", "motion_modules"):
            return [*range(m - 1), n - 1]
        if path.endswith("transformer_blocks") and chosen_by == "even":
            return evenly(n, m)
        return range(m)

    return choose


def evenly(n: int, m: int) -> list[int]:
    """m of n blocks, evenly spread with the first and the last.

    >>> evenly(8, 4)
    [0, 2, 5, 7]
    """
    if m == 1:
        return [0]
    return [int(k * (n - 1) / (m - 1) + 0.5) for k in range(m)]


def origins(teacher: nn.Module, student: nn.Module, modules: Mapping[str, str], *, init: str) -> dict[str, Origin]:
    """The origin of every tensor of the student.

    Args:
        teacher: the teacher's network; the meta device suffices.
        student: the student's network; the same.
        modules: from `counterparts`.
        init: "inherit" or "slice" (the same where nothing is narrowed), or "random".

    Raises:
        UserError: a tensor of the student has no counterpart in the teacher.
    """
    known, wanted = shapes(teacher), shapes(student)
    if init == "random":
        return {name: Origin("fresh", None, reason="random initialisation") for name in wanted}
    found: dict[str, Origin] = {}
    for name, shape in wanted.items():
        path, _, leaf = name.rpartition(".")
        partner = modules.get(path)
        source = f"{partner}.{leaf}".lstrip(".") if partner is not None else None
        if source is None or source not in known or len(known[source]) != len(shape):
            raise UserError(
                f"the student's tensor {name!r} has no counterpart in the teacher; give a spec that keeps its layer, "
                "or initialise with random"
            )
        if known[source] == shape:
            found[name] = Origin("inherited", source)
        else:
            found[name] = _narrowed(name, source, known[source], shape, Channels(teacher, student, path, partner or ""))
    return found


def _narrowed(name: str, source: str, before: Sequence[int], after: Sequence[int], widths: Channels) -> Origin:
    dims: list[tuple[Part, ...] | None] = []
    for dim, (n, m) in enumerate(zip(before, after, strict=True)):
        parts = None if n == m else widths.parts(name, dim, n, m)
        if parts is not None and any(part.student > part.teacher for part in parts):
            return Origin("fresh", None, reason=f"wider than the teacher's {source} ({n} to {m} in dimension {dim})")
        dims.append(parts)
    text = " x ".join(f"{n}->{m}" if n != m else str(n) for n, m in zip(before, after, strict=True))
    return Origin("sliced", source, tuple(dims), reason=f"narrowed {text}")


def taken(tensor: Tensor, origin: Origin) -> Tensor:
    """The part of the teacher's tensor that the origin names."""
    for dim, parts in enumerate(origin.dims):
        if parts is None:
            continue
        index, start = [], 0
        for part in parts:
            index += [start + k for k in part.index()]
            start += part.teacher
        tensor = tensor.index_select(dim, torch.tensor(index, device=tensor.device))
    return tensor
