"""p(u): with what probability a sample's condition is swapped, as a function of how noisy it is.

u is in [0, 1]; 1 is pure noise. All are vectorised over any shape. Formulas: arXiv 2504.02011, sec. 4.1 (exponential)
and supplement D (the others); the means over u that follow from them are asserted in the tests.

To add one: write a frozen dataclass below with a `name` and `__call__`, and put it into `KNOWN`.

>>> p_random("exponential")(torch.tensor([0.0, 1.0]))
tensor([0.0067, 1.0000])
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from condistill.dotted import imported
from condistill.errors import UserError, unknown_name


@runtime_checkable
class PRandom(Protocol):
    """A swap probability: u (any shape, float in [0, 1]) -> probability of the same shape."""

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]: ...


@dataclass(frozen=True)
class Constant:
    """p(u) = p. p = 0 is plain distillation, p = 1 swaps every condition."""

    name: ClassVar[str] = "constant"
    p: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.p <= 1.0:
            raise UserError(f"constant p_random must be a probability in [0, 1], got {self.p}")

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.full_like(u, self.p)


@dataclass(frozen=True)
class Linear:
    """p(u) = u."""

    name: ClassVar[str] = "linear"

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return u.clone()


@dataclass(frozen=True)
class Exponential:
    """p(u) = exp(-lam (1 - u)). The paper's default, best with teacher-initialised students."""

    name: ClassVar[str] = "exponential"
    lam: float = 5.0  # paper sec. 4.1

    def __post_init__(self) -> None:
        if self.lam < 0:
            raise UserError(f"exponential p_random needs lam >= 0, got {self.lam}")

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.exp(-self.lam * (1.0 - u))


@dataclass(frozen=True)
class Sigmoid:
    """p(u) = 1 / (1 + exp(-k (u - centre))). The paper's best for randomly initialised students."""

    name: ClassVar[str] = "sigmoid"
    k: float = 20.0  # paper, supplement D
    centre: float = 0.7

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.sigmoid(self.k * (u - self.centre))


@dataclass(frozen=True)
class TwoSided:
    """p(u) = exp(-lam (1 - u)) above u = 1/2, exp(-lam u) below."""

    name: ClassVar[str] = "two-sided"
    lam: float = 5.0

    def __post_init__(self) -> None:
        if self.lam < 0:
            raise UserError(f"two-sided p_random needs lam >= 0, got {self.lam}")

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.exp(-self.lam * torch.minimum(u, 1.0 - u))


@dataclass(frozen=True)
class Quadratic:
    """p(u) = (2 u - 1)^2."""

    name: ClassVar[str] = "quadratic"

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return (2.0 * u - 1.0).square()


@dataclass(frozen=True)
class Tabulated:
    """p(u) by linear interpolation between `values`, spread evenly over u = 0 ... 1."""

    name: ClassVar[str] = "tabulated"
    values: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(v) for v in self.values))
        if len(self.values) < 2 or not all(0.0 <= v <= 1.0 for v in self.values):
            raise UserError(f"tabulated p_random needs two or more values in [0, 1], got {list(self.values)}")

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return _interpolated(self.values, u)


@dataclass(frozen=True)
class Auto:
    """p(u) that is measured on the teacher: the share of the training samples that swapped ones should have.

    `values` are empty until it is measured, which `distill` does at its start (`condistill.train.auto_p`); then they
    are interpolated like a table's.

    Attributes:
        power: 1 shares out the samples by standard deviations, 2 by variances; docs/method.md has the argument.
        values: spread evenly over u = 0 ... 1.
    """

    name: ClassVar[str] = "auto"
    power: float = 1.0
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.power <= 0:
            raise UserError(f"auto p_random needs power > 0, got {self.power}")
        if self.values:
            object.__setattr__(self, "values", Tabulated(self.values).values)

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        if not self.values:
            raise UserError("p_random 'auto' has no values before distill has measured it on a teacher and its D")
        return _interpolated(self.values, u)


def _interpolated(values: tuple[float, ...], u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    table = torch.tensor(values, dtype=u.dtype, device=u.device)
    place = u.clamp(0.0, 1.0) * (len(table) - 1)
    low = place.floor().long().clamp(max=len(table) - 2)
    share = place - low
    return table[low] * (1.0 - share) + table[low + 1] * share


KNOWN: dict[str, type] = {
    kind.name: kind for kind in (Constant, Linear, Exponential, Sigmoid, TwoSided, Quadratic, Tabulated)
}
_FIXED = {"never": Constant(0.0), "always": Constant(1.0)}
_NAMED = {**KNOWN, Auto.name: Auto}


def p_random(spec: PRandom | float | int | str | Mapping[str, Any]) -> PRandom:
    """The swap probability that `spec` names.

    Args:
        spec: a number (constant), a name with an optional first parameter ("exponential", "exponential:7",
            "never", "always", "auto"), a mapping ({"name": "sigmoid", "k": 20}), a dotted name of your own class or
            function ("my_lab.my_p"), or any callable, which is returned as it stands.

    Raises:
        UserError: unknown name (the nearest is suggested), unknown or impossible parameter.
    """
    if isinstance(spec, Mapping):
        options = dict(spec)
        return _made(str(options.pop("name", "")), options)
    if isinstance(spec, bool):
        raise UserError(f"p_random must be a name, a number or a mapping, got {spec}; use 'never' or 'always'")
    if isinstance(spec, int | float):
        return Constant(float(spec))
    if isinstance(spec, str):
        name, _, value = spec.partition(":")
        return _made(name, value or {})
    if callable(spec):
        return spec
    raise UserError(f"p_random must be a name, a number, a mapping or a callable, got {type(spec).__name__}")


def _made(name: str, options: Mapping[str, Any] | str) -> PRandom:
    try:
        return Constant(float(name))
    except ValueError:
        pass
    if name in _FIXED and not options:
        return _FIXED[name]
    if "." in name:
        if isinstance(options, str):
            raise UserError(
                f"p_random {name!r} takes its parameters by name, got {options!r}; write {{name: ..., k: 1}}"
            )
        return _imported(name, options)
    if name not in _NAMED:
        raise unknown_name("p_random", name, [*_NAMED, *_FIXED])
    kind = _NAMED[name]
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    if isinstance(options, str):
        if not fields:
            raise UserError(f"p_random {name!r} takes no parameter, got {options!r}")
        options = {next(iter(fields)): options.split(",") if name == "tabulated" else options}
    for key in options:
        if key not in fields:
            raise unknown_name(f"parameter of p_random {name!r}", key, fields)
    try:
        numbers = {key: _numbers(value) for key, value in options.items()}
        is_fit = all(isinstance(value, tuple) == isinstance(fields[key], tuple) for key, value in numbers.items())
        if is_fit and all(map(math.isfinite, (one for value in numbers.values() for one in _listed(value)))):
            return kind(**numbers)
    except UserError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_numbers(name, options) from error
    raise _no_numbers(name, options)


def _no_numbers(name: str, options: Mapping[str, Any] | str) -> UserError:
    return UserError(f"p_random {name!r}: parameters must be numbers, got {options}")


def _listed(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _numbers(value: Any) -> float | tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, list | tuple) else float(value)


def _imported(name: str, options: Mapping[str, Any]) -> PRandom:
    found = imported("p_random", name)
    make: Any = found
    if not isinstance(found, type):
        if options or not callable(found):
            raise UserError(f"p_random {name!r} must be a function of u without parameters, or a class of such")
        return make
    # a recipe may come from anywhere: nothing is made by its name but what is a function of u, and of numbers alone
    if not any("__call__" in base.__dict__ for base in found.__mro__):
        raise UserError(f"p_random {name!r} is a class without __call__(u); give one that is a function of u")
    try:
        return make(**{key: _numbers(value) for key, value in options.items()})
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"p_random {name!r} does not take {dict(options)} ({error}); give numbers that it takes"
        ) from error


def describe(p: PRandom) -> dict[str, Any]:
    """`p` as a mapping that `p_random` understands again (callables of the user by their dotted name)."""
    if dataclasses.is_dataclass(p) and hasattr(p, "name"):
        return {"name": p.name, **dataclasses.asdict(p)}  # type: ignore[arg-type]
    kind: Any = p if hasattr(p, "__qualname__") else type(p)
    return {"name": f"{kind.__module__}.{kind.__qualname__}"}
