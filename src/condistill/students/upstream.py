"""Networks upstream of the denoiser (a ControlNet), cut as the student is: one output for each layer it still has.

An upstream network of the denoiser's own layout has fields of its config in common with it. What the student's plan
changed there is changed here too, and the layers that stay are the denoiser's. A list whose items each read another
module's output (the convolutions that a ControlNet hands out by) keeps the items of the modules that stay.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import nn

from condistill.errors import UserError
from condistill.students.inherit import counterparts, evenly, origins
from condistill.students.meta import clean, on_meta
from condistill.students.passes import sources_of_items
from condistill.students.plan import StudentPlan
from condistill.teacher.shadowing import bound_arguments


def upstream_plans(
    plan: StudentPlan, name: str, network: nn.Module, inputs: Mapping[str, Any]
) -> dict[str, StudentPlan]:
    """Path -> the cut of an upstream network that goes along with a student, of those in it where it has several.

    Args:
        plan, network, inputs: see `upstream_plan`.
        name: the network's in the pipeline.

    Raises:
        UserError: it cannot be cut like this.
    """
    if hasattr(network, "config"):
        given = {name: (network, inputs)}
    else:  # several in one (two ControlNets), and nothing else
        given = {f"{name}.{path}": one for path, one in _inner(network, inputs).items()}
    plans = {path: upstream_plan(plan, part, its) for path, (part, its) in given.items()}
    return {path: one for path, one in plans.items() if one is not None}


def _inner(network: nn.Module, inputs: Mapping[str, Any]) -> dict[str, tuple[nn.Module, Mapping[str, Any]]]:
    """Path -> each network inside another, and what it is given where that is called with `inputs`."""
    parts = {path: part for path, part in network.named_modules() if path and hasattr(part, "config")}
    outer = {path: part for path, part in parts.items() if not any(path.startswith(f"{one}.") for one in parts)}
    found: dict[str, tuple[nn.Module, Mapping[str, Any]]] = {}

    def keep(path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found[path] = (module, bound_arguments(module, args, kwargs))

        return hook

    handles = [part.register_forward_pre_hook(keep(path), with_kwargs=True) for path, part in outer.items()]
    try:
        with torch.no_grad():
            network(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def with_parts(network: nn.Module, parts: Mapping[str, nn.Module]) -> nn.Module:
    """A copy of the network with these in the places of its own; the part at "" is all of it."""
    if "" in parts:
        return parts[""]
    found = copy.deepcopy(network)
    for path, part in parts.items():
        found.set_submodule(path, part)
    return found


def upstream_plan(plan: StudentPlan, network: nn.Module, inputs: Mapping[str, Any]) -> StudentPlan | None:
    """The cut of an upstream network that goes along with a student; None where nothing of it changes.

    Args:
        plan: of the student.
        network: the teacher's upstream network.
        inputs: recorded keyword arguments of it.

    Raises:
        UserError: the network cannot be cut like this: a tensor of it would have no origin, or another width.
    """
    cls, config = type(network), clean(network.config)  # type: ignore[arg-type]
    teacher = on_meta(cls, config)
    student, after = _cut(cls, config, plan)
    if after == config:
        return None
    modules = counterparts(teacher, student, lambda path, theirs, ours: _same(plan, path, theirs, ours))
    read = (sources_of_items(teacher, inputs), sources_of_items(student, inputs))

    def choose(path: str, theirs: nn.ModuleList, ours: nn.ModuleList) -> Sequence[int]:
        before = [read[0].get(f"{path}.{k}", "") for k in range(len(theirs))]
        wanted = [modules.get(read[1].get(f"{path}.{k}", ""), "") for k in range(len(ours))]
        fed = len({*wanted}) == len(wanted) and {*wanted} <= {*before}
        return [before.index(source) for source in wanted] if fed else _same(plan, path, theirs, ours)

    modules = counterparts(teacher, student, choose)
    found = origins(teacher, student, modules, init="inherit")
    sliced = next((name for name, origin in found.items() if origin.kind != "inherited"), None)
    if sliced:
        raise UserError(f"{cls.__name__} cannot be cut like this student: its {sliced!r} would have another shape")
    return replace(
        plan, cls=cls, teacher_config=config, config=after, init="inherit", origins=found, taps=(), modules=modules,
        notes=(), passes=None, upstream={},
    )  # fmt: skip


def _cut(cls: type, config: Mapping[str, Any], plan: StudentPlan) -> tuple[nn.Module, dict[str, Any]]:
    """The network with the fields that the plan changed and that it has as well; all of them, or all but one."""
    changed = {
        own: plan.config[name]
        for name, before in plan.teacher_config.items()
        for own in config
        if own.endswith(name) and _plain(before) == _plain(config[own]) and _plain(plan.config[name]) != _plain(before)
    }
    for count in (len(changed), len(changed) - 1):
        for names in combinations(changed, max(count, 0)):
            after = {**config, **{name: changed[name] for name in names}}
            try:
                return on_meta(cls, after), after
            except UserError:
                continue
    return on_meta(cls, config), dict(config)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _same(plan: StudentPlan, path: str, theirs: nn.ModuleList, ours: nn.ModuleList) -> Sequence[int]:
    """The items that the denoiser keeps of its list of that name; evenly spread ones where it has none."""
    kept = [plan.modules.get(f"{path}.{k}", "").rpartition(".")[2] for k in range(len(ours))]
    chosen = [int(k) for k in kept if k.isdigit()]
    return chosen if len(chosen) == len(ours) and chosen[-1] < len(theirs) else evenly(len(theirs), len(ours))
