"""The plan as a diff: what stays, what goes, what gets narrower, and what that saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from condistill.students.costs import macs_by_module
from condistill.students.likely import found_for
from condistill.students.meta import on_meta, shapes
from condistill.students.plan import StudentPlan, TapPair

MAX_DEPTH = 6
PLANNED_TOKENS = 77  # length of the text in the passes of a plan that was made from a config alone
NOT_RUN = "MACs are not counted: shapes alone do not suffice to run this class"
NOT_ASKED = (
    "MACs are not counted: no arguments were found on which this class runs by itself ({}); give its pipeline's folder"
)
Macs = Mapping[str, Mapping[str, int]] | None


@dataclass(frozen=True)
class Row:
    """One module of the teacher and what becomes of it.

    Attributes:
        path: of the module in the teacher.
        student: path of its counterpart, None if it is removed.
        depth: level in the tree, 0 for the network's own children.
        status: "kept", "removed", "narrowed", or "cut": rows for its parts follow.
        teacher_parameters, student_parameters: of the module.
        teacher_macs, student_macs: of the module in one pass, attention included; None where not counted.
        reason: why.
    """

    path: str
    student: str | None
    depth: int
    status: str
    teacher_parameters: int
    student_parameters: int
    teacher_macs: int | None
    student_macs: int | None
    reason: str


@dataclass(frozen=True)
class Inspection:
    """What a plan does to a teacher.

    Attributes:
        spec, network, init: of the plan; `network` is the class.
        parameters: {"teacher": ..., "student": ...}.
        macs: the same, of {"conv_linear": ..., "total": ...}; None where the class's arguments are not known.
        origins: number of the student's tensors by kind.
        rows: the tree, in the teacher's order.
        taps: what the feature loss compares.
        notes: what the user should know.
    """

    spec: str
    network: str
    init: str
    parameters: dict[str, int]
    macs: dict[str, dict[str, int] | None]
    origins: dict[str, int]
    rows: tuple[Row, ...]
    taps: tuple[TapPair, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The inspection as plain JSON values."""
        return asdict(self) | {
            "rows": [asdict(row) for row in self.rows],
            "taps": [asdict(tap) for tap in self.taps],
            "notes": list(self.notes),
        }

    def lines(self) -> Iterator[str]:
        """The tree as plain text, one line a row."""
        signs = {"kept": "=", "removed": "-", "narrowed": "<", "cut": "~"}
        for row in self.rows:
            name = row.path.rpartition(".")[2] if row.depth else row.path
            sizes = f"{row.teacher_parameters:,} -> {row.student_parameters:,}"
            if row.teacher_macs is not None:
                sizes += f"  {_giga(row.teacher_macs)} -> {_giga(row.student_macs or 0)} GMAC"
            yield f"{'  ' * row.depth}{signs[row.status]} {name}  {row.status}  {sizes}  {row.reason}".rstrip()


def inspect(plan: StudentPlan, *, inputs: Mapping[str, Any] | None = None, tokens: int = 77) -> Inspection:
    """The plan as a diff, with parameters and MACs of teacher and student; needs no weights.

    Args:
        plan: from `make_plan`.
        inputs: the network's keyword arguments for one item, to count MACs with; those the plan was made with if None.
        tokens: length of the text where neither are given.

    >>> from condistill.students import load_config, make_plan
    >>> cls, config = load_config("sd-v1-4")
    >>> found = inspect(make_plan(config, cls, "b-small"))
    >>> found.parameters["student"], f'{found.macs["student"]["conv_linear"] / 1e9:.0f} G'
    (482346884, '218 G')
    """
    teacher, student = on_meta(plan.cls, plan.teacher_config), on_meta(plan.cls, plan.config)
    t_macs, s_macs = _counted(plan, teacher, student, inputs=inputs, tokens=tokens)
    kinds: dict[str, int] = {}
    for origin in plan.origins.values():
        kinds[origin.kind] = kinds.get(origin.kind, 0) + 1
    notes = plan.notes if t_macs and s_macs else (*plan.notes, _why_not(teacher, student, plan.inputs_given or inputs))
    diff = _Diff(plan, teacher, student, t_macs or {}, s_macs or {})
    return Inspection(
        spec=plan.spec,
        network=plan.cls.__name__,
        init=plan.init,
        parameters={"teacher": _parameters(teacher), "student": _parameters(student)},
        macs={"teacher": dict(t_macs[""]) if t_macs else None, "student": dict(s_macs[""]) if s_macs else None},
        origins=kinds,
        rows=tuple(diff.rows("", 0)),
        taps=plan.taps,
        notes=notes,
    )


def _counted(
    plan: StudentPlan, teacher: nn.Module, student: nn.Module, *, inputs: Mapping[str, Any] | None, tokens: int
) -> tuple[Macs, Macs]:
    """MACs by module of teacher and student; the plan's own passes serve where they are those that are wanted."""
    if inputs is None and plan.passes is not None and (plan.inputs_given or tokens == PLANNED_TOKENS):
        return plan.passes[0].macs, plan.passes[1].macs
    found = [macs_by_module(network, inputs=inputs, tokens=tokens) for network in (teacher, student)]
    return found[0], found[1]


def _why_not(teacher: nn.Module, student: nn.Module, given: Any) -> str:
    """Why MACs are not counted."""
    why = "" if given else found_for(teacher).why or found_for(student).why
    return NOT_ASKED.format(why) if why else NOT_RUN


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _macs(counted: Mapping[str, Mapping[str, int]], network: nn.Module, path: str) -> int | None:
    if not counted:
        return None
    if path in counted:
        return counted[path]["total"]
    # a list of modules is not called itself
    children = network.get_submodule(path).named_children()
    return sum(_macs(counted, network, f"{path}.{name}") or 0 for name, _ in children)


def _giga(macs: int) -> str:
    """In units of 10^9, three digits."""
    return f"{macs / 1e9:.3g}"


class _Diff:
    def __init__(
        self,
        plan: StudentPlan,
        teacher: nn.Module,
        student: nn.Module,
        t_macs: Mapping[str, Mapping[str, int]],
        s_macs: Mapping[str, Mapping[str, int]],
    ):
        self.plan, self.teacher, self.student = plan, teacher, student
        self.t_macs, self.s_macs = t_macs, s_macs
        self.partners = {source: path for path, source in plan.modules.items()}
        self.before, self.after = shapes(teacher), shapes(student)

    def rows(self, path: str, depth: int) -> Iterator[Row]:
        """The rows of the children of the teacher's module at `path`."""
        for name, child in self.teacher.get_submodule(path).named_children():
            inner = f"{path}.{name}".lstrip(".")
            if not any(True for _ in child.parameters()):
                continue
            status = self.status(inner)
            yield self.row(inner, depth, status)
            if status == "cut" and depth < MAX_DEPTH:
                yield from self.rows(inner, depth + 1)

    def status(self, path: str) -> str:
        """What becomes of the teacher's module, by all that is in it."""
        if path not in self.partners:
            return "removed"
        found = {self._tensor(name) for name in self.before if name.rpartition(".")[0] == path}
        for name, child in self.teacher.get_submodule(path).named_children():
            if any(True for _ in child.parameters()):
                found.add(self.status(f"{path}.{name}"))
        if len(found) == 1:
            return found.pop()
        return "narrowed" if found <= {"kept", "narrowed"} else "cut"

    def _tensor(self, name: str) -> str:
        path, _, leaf = name.rpartition(".")
        shape = self.after.get(f"{self.partners[path]}.{leaf}".lstrip("."))
        if shape is None:
            return "removed"
        return "kept" if shape == self.before[name] else "narrowed"

    def row(self, path: str, depth: int, status: str) -> Row:
        """The row of one module."""
        partner = self.partners.get(path)
        ours = _parameters(self.student.get_submodule(partner)) if partner is not None else 0
        return Row(
            path=path,
            student=partner,
            depth=depth,
            status=status,
            teacher_parameters=_parameters(self.teacher.get_submodule(path)),
            student_parameters=ours,
            teacher_macs=_macs(self.t_macs, self.teacher, path),
            student_macs=_macs(self.s_macs, self.student, partner) if partner is not None else None,
            reason=self.reason(path, status, partner),
        )

    def reason(self, path: str, status: str, partner: str | None) -> str:
        """Why, in a few words."""
        parent, _, leaf = path.rpartition(".")
        if status == "removed":
            items = self.teacher.get_submodule(parent)
            if isinstance(items, nn.ModuleList):
                stay = [k for k in range(len(items)) if f"{parent}.{k}" in self.partners]
                if not stay:
                    return f"no {parent.rpartition('.')[2]} here"
                kept = ", ".join(map(str, stay))
                return f"of {len(items)} {parent.rpartition('.')[2]} {kept} {'stay' if len(stay) > 1 else 'stays'}"
            if leaf == "downsamplers":
                return "the innermost stage does not downsample"
            return f"{self.plan.spec} has no {leaf}"
        if status == "narrowed":
            return f"fewer channels ({self.plan.init})"
        if status == "kept":
            moved = "" if partner == path else f"as {partner}"
            return f"{moved}, fresh weights".lstrip(", ") if self.plan.init == "random" else moved
        return ""
