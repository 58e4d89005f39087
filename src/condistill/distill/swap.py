"""Which key of C a swapped sample gets: any, one that the student does not know yet, or one that is like its own.

>>> swap_of("gap").describe()
{'by': 'gap', 'candidates': 8, 'power': 1.0}

The chooser draws a few candidates uniformly and picks one of them by weight, so that C may be of any size and none of
its keys is ever left out. Uniform is the paper's, and draws without detour.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from condistill.errors import UserError, unknown_name
from condistill.maths.randomise import Key

Uniforms = Callable[[str], np.ndarray]  # purpose -> (b,) uniform draws in [0, 1) of the b swapped samples
MAX_KEYS = 200_000  # beyond, a key is drawn too seldom for its gap to be known
_BINS = 10  # of u, within which errors are compared


@runtime_checkable
class Swap(Protocol):
    """How the keys of swapped samples are chosen."""

    def draw(self, corpus: Any, uniform: Uniforms, keys: Sequence[Key], u: Float[Tensor, " b"]) -> Sequence[Key]:
        """b keys of C for b swapped samples with these keys of their own, at noise levels u."""
        ...

    def begin(self, teacher: Any, corpus: Any) -> None:
        """Called once before the first step."""
        ...

    def learn(self, keys: Sequence[Key], u: Float[Tensor, " b"], errors: Sequence[Float[Tensor, " b"]]) -> None:
        """Is told each student's output error on the samples of a micro-batch, with the keys that they were given."""
        ...

    def settle(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Called after each step; `gather` brings together what all processes know, in the order of the samples."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold; empty where nothing is learned."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` gave."""
        ...

    def describe(self) -> dict[str, Any]:
        """The chooser as a mapping that `swap_of` understands."""
        ...


@dataclass
class Uniform:
    """Any key of C, uniformly and with replacement: the paper's."""

    by: ClassVar[str] = "uniform"

    def draw(self, corpus: Any, uniform: Uniforms, keys: Sequence[Key], u: Float[Tensor, " b"]) -> Sequence[Key]:
        """b keys, uniformly."""
        return corpus.draw(uniform("condition"))

    def begin(self, teacher: Any, corpus: Any) -> None:
        """Nothing."""

    def learn(self, keys: Sequence[Key], u: Float[Tensor, " b"], errors: Sequence[Float[Tensor, " b"]]) -> None:
        """Nothing."""

    def settle(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Nothing."""

    def tensors(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing."""

    def describe(self) -> dict[str, Any]:
        """The name and the parameters."""
        return {"by": self.by, **dataclasses.asdict(self)}


@dataclass
class ByGap(Uniform):
    """A key in proportion to the student's KD gap on it, to a power.

    The gap of a key is a running mean of its samples' output errors, each divided by the mean error at its noise level;
    a key that was not met yet has 1, the mean. It follows from the losses alone, so nothing more is computed.

    Attributes:
        candidates: of which one is picked.
        power: 0 is uniform.
    """

    by: ClassVar[str] = "gap"
    candidates: int = 8
    power: float = 1.0

    def begin(self, teacher: Any, corpus: Any) -> None:
        """Numbers the keys of C.

        Raises:
            UserError: C is too large for the gap of each key to be known.
        """
        if len(corpus) > MAX_KEYS:
            raise UserError(
                f"swap by gap keeps a gap for each key of C, up to {MAX_KEYS:,}; C has {len(corpus):,}: use uniform"
            )
        self._rows = {_frozen(corpus[k]): k for k in range(len(corpus))}
        self._gap, self._count = np.ones(len(corpus)), np.zeros(len(corpus))
        self._level = np.full(_BINS, np.nan)
        self._met: list[Tensor] = []

    def draw(self, corpus: Any, uniform: Uniforms, keys: Sequence[Key], u: Float[Tensor, " b"]) -> Sequence[Key]:
        """b keys, each the one of its candidates that its gap makes likely."""
        found = _candidates(corpus, uniform, self.candidates)
        rows = np.array([[self._rows[_frozen(key)] for key in some] for some in found])  # (m, b)
        return _picked(found, self._gap[rows] ** self.power, uniform("pick"))

    def learn(self, keys: Sequence[Key], u: Float[Tensor, " b"], errors: Sequence[Float[Tensor, " b"]]) -> None:
        """Remembers the errors until the step is done; keys outside of C (the null condition) have none."""
        # single precision holds every row number exactly, and every device has it
        rows = torch.tensor([self._rows.get(_frozen(key), -1) for key in keys], dtype=torch.float32)
        mean = torch.stack([error.detach().float().cpu() for error in errors]).mean(dim=0)
        self._met.append(torch.stack([rows, u.float().cpu(), mean], dim=1))  # (b, 3)

    def settle(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Folds the errors of one step into the gaps, sample by sample in their order."""
        met = gather(torch.cat(self._met)).double().cpu().numpy()
        # a step that is not finite, and skipped, says nothing about its keys
        met, self._met = met[(met[:, 0] >= 0) & np.isfinite(met[:, 2])], []
        rows, errors = met[:, 0].astype(int), met[:, 2]
        bins = np.minimum((met[:, 1] * _BINS).astype(int), _BINS - 1)
        for k in np.unique(bins):
            mean = errors[bins == k].mean()
            self._level[k] = mean if np.isnan(self._level[k]) else 0.9 * self._level[k] + 0.1 * mean
        for row, k, error in zip(rows, bins, errors, strict=True):
            if self._level[k] > 0:
                # a mean at first, then one that forgets what is more than about twenty samples old
                self._count[row] += 1
                self._gap[row] += (error / self._level[k] - self._gap[row]) / min(self._count[row] + 1, 20)

    def tensors(self) -> dict[str, Tensor]:
        """The gaps, how often each key was met, and the mean error by noise level."""
        return {name: torch.from_numpy(getattr(self, f"_{name}").copy()) for name in ("gap", "count", "level")}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` gave."""
        self._gap, self._count, self._level = (tensors[name].numpy().copy() for name in ("gap", "count", "level"))


@dataclass
class BySimilarity(Uniform):
    """A key that is like the sample's own, the more so the less noise there is: e^(strength (1 - u) cosine).

    At low noise x_t still shows what it was made for, and only under a similar condition would sampling meet it. The
    cosine is that of the conditions as the teacher encodes them, less the mean over some of C; at pure noise any key is
    as likely as any other.

    Attributes:
        candidates: of which one is picked.
        strength: 0 is uniform.
    """

    by: ClassVar[str] = "similarity"
    candidates: int = 8
    strength: float = 4.0

    def begin(self, teacher: Any, corpus: Any) -> None:
        """Takes the teacher's encoder and the mean condition of up to 64 keys of C."""
        self._teacher = teacher
        places = sorted({round(k) for k in np.linspace(0, len(corpus) - 1, min(64, len(corpus)))})
        self._mean = self._embedded([corpus[k] for k in places]).mean(dim=0)

    def draw(self, corpus: Any, uniform: Uniforms, keys: Sequence[Key], u: Float[Tensor, " b"]) -> Sequence[Key]:
        """b keys, each the one of its candidates that its likeness makes likely."""
        found = _candidates(corpus, uniform, self.candidates)
        own = self._direction(keys)
        alike = torch.stack([(self._direction(some) * own).sum(dim=1) for some in found])  # (m, b)
        weights = torch.exp(self.strength * (1 - u.double()) * alike.double())
        return _picked(found, weights.numpy(), uniform("pick"))

    def _direction(self, keys: Sequence[Key]) -> Tensor:
        return torch.nn.functional.normalize(self._embedded(keys) - self._mean, dim=1)

    def _embedded(self, keys: Sequence[Key]) -> Tensor:
        """(b, d) float32 on the CPU: of each floating-point part of the conditions the direction of its tokens' sum."""
        leaves = self._teacher.encode(keys).leaves
        parts = [_summed(rows) for rows in leaves.values() if rows[0].is_floating_point() and rows[0].ndim]
        if not parts:
            raise UserError("swap by similarity compares encoded conditions, and this teacher is told numbers only")
        return torch.cat([torch.nn.functional.normalize(part, dim=1) for part in parts], dim=1)


KNOWN: dict[str, type[Uniform]] = {kind.by: kind for kind in (Uniform, ByGap, BySimilarity)}


def swap_of(spec: str | Mapping[str, Any] | Swap) -> Swap:
    """The chooser that `spec` names.

    Args:
        spec: "uniform", "gap", "similarity", a mapping ({"by": "gap", "power": 2}), or a chooser, returned as it is.

    Raises:
        UserError: unknown name or parameter (the nearest is suggested), or one out of its range.
    """
    if not isinstance(spec, str | Mapping):
        return spec
    options = {"by": spec} if isinstance(spec, str) else dict(spec)
    by = str(options.pop("by", ""))
    if by not in KNOWN:
        raise unknown_name("swap", by, KNOWN)
    fields = {field.name: field.type for field in dataclasses.fields(KNOWN[by])}
    for name, value in options.items():
        if name not in fields:
            raise unknown_name(f"parameter of swap {by!r}", name, fields)
        wanted = int if fields[name] == "int" else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or not 0 <= value < 1000:
            raise UserError(f"swap {by!r} wants {name} as a number from 0 to 1000, got {value!r}")
        if name == "candidates" and value < 2:
            raise UserError(f"swap {by!r} picks one of its candidates and wants 2 or more, got {value}")
    return KNOWN[by](**{n: value if fields[n] == "int" else float(value) for n, value in options.items()})


def _candidates(corpus: Any, uniform: Uniforms, count: int) -> list[Sequence[Key]]:
    """m lists of b keys of C, uniformly; the first is what `Uniform` would draw."""
    return [corpus.draw(uniform("condition" if k == 0 else f"condition {k}")) for k in range(count)]


def _picked(candidates: Sequence[Sequence[Key]], weights: np.ndarray, uniforms: np.ndarray) -> list[Key]:
    """Of m candidates for each of b samples one, by weight (m, b)."""
    edges = np.cumsum(weights, axis=0)
    chosen = (edges <= uniforms * edges[-1]).sum(axis=0).clip(max=len(edges) - 1)
    return [candidates[int(row)][k] for k, row in enumerate(chosen)]


def _summed(rows: Any) -> Tensor:
    """(b, d): each row's sum over its tokens; a sum, so that zeros a text is padded with change nothing."""
    return torch.stack([row.float().cpu().reshape(-1, row.shape[-1]).sum(dim=0) for row in rows])


def _frozen(key: Key) -> str:
    return json.dumps(key, sort_keys=True, default=str)
