"""Noise paths: from x0 and eps to x_t, as the teacher's own scheduler defines it.

Variance preserving, flow matching, or measured on the scheduler itself; one interface. `t` is always the scheduler's
own time, (b,); u(t) in [0, 1] is the share of the way to pure noise and is what p(u) takes.

>>> path = FlowPath(num_steps=1000)
>>> path.add_noise(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([250.0]))
tensor([[0.2500, 0.2500]])
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from condistill.errors import UserError


class NoisePath(Protocol):
    """A forward process x_t = alpha(t) x0 + sigma(t) eps."""

    def alpha(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]: ...
    def sigma(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]: ...
    def u(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]: ...
    def times(self, uniform: Float[Tensor, " b"]) -> Shaped[Tensor, " b"]: ...
    def log_snr(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]: ...
    def log_noise(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]: ...
    def add_noise(
        self, x0: Float[Tensor, "b *latent"], eps: Float[Tensor, "b *latent"], t: Shaped[Tensor, " b"]
    ) -> Float[Tensor, "b *latent"]: ...
    def describe(self) -> dict[str, Any]: ...


class _Gaussian:
    """What both kinds share: everything that follows from alpha(t) and sigma(t)."""

    def log_snr(self: Any, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """log(alpha^2 / sigma^2), (b,) float32."""
        return 2.0 * (self.alpha(t).log() - self.sigma(t).log())

    def log_noise(self: Any, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """log(sigma / alpha), (b,) float32: what some denoisers take for the time."""
        return -0.5 * self.log_snr(t)

    def add_noise(
        self: Any, x0: Float[Tensor, "b *latent"], eps: Float[Tensor, "b *latent"], t: Shaped[Tensor, " b"]
    ) -> Float[Tensor, "b *latent"]:
        """x_t = alpha_t x0 + sigma_t eps, always in float32: in half precision the noise of small t is rounded away."""
        column = (-1, *[1] * (x0.ndim - 1))
        return self.alpha(t).view(column) * x0.float() + self.sigma(t).view(column) * eps.float()


@dataclass(frozen=True, eq=False)
class VPPath(_Gaussian):
    """Variance preserving: alpha_t = sqrt(abar_t), sigma_t = sqrt(1 - abar_t), t in 0 ... T - 1.

    Attributes:
        alphas_cumprod: (T,) float64, the scheduler's own table.
    """

    alphas_cumprod: Tensor

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.alphas_cumprod)

    def _at(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        return self.alphas_cumprod.to(t.device)[t.long()]

    def alpha(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """sqrt(abar_t), (b,) float32."""
        return self._at(t).sqrt().float()

    def sigma(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """sqrt(1 - abar_t), (b,) float32."""
        return (1.0 - self._at(t)).sqrt().float()

    def log_noise(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """log(sigma / alpha), (b,) float32; between whole steps the ratio is interpolated, as samplers do."""
        t = t.double()
        below, above = ((1.0 / self._at(whole) - 1.0).sqrt() for whole in (t.floor(), t.ceil()))
        return torch.lerp(below, above, t - t.floor()).log().float()

    def u(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """t / T, as in the paper."""
        return t.float() / self.num_steps

    def times(self, uniform: Float[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """Whole steps 0 ... T - 1, int64 (b,), uniform for uniform draws in [0, 1)."""
        return (uniform.double() * self.num_steps).long().clamp(max=self.num_steps - 1)

    def describe(self) -> dict[str, Any]:
        """The kind and numbers that tell two paths apart, for the manifest of D."""
        ends = self.alphas_cumprod[[0, len(self.alphas_cumprod) // 2, -1]]
        return {"kind": "vp", "num_steps": self.num_steps, "alphas_cumprod": [float(f"{a:.6g}") for a in ends]}


@dataclass(frozen=True)
class FlowPath(_Gaussian):
    """Rectified flow: x_t = (1 - s) x0 + s eps with s = t / T in (0, 1].

    Attributes:
        num_steps: T, the scale of the scheduler's time.
        shift: training times are shifted as the scheduler shifts its own: s -> shift s / (1 + (shift - 1) s).
        inverted: the scheduler counts from 0 (pure noise) to T (no noise), as Mochi's does.
    """

    num_steps: int = 1000
    shift: float = 1.0
    inverted: bool = False

    def alpha(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """1 - s, (b,) float32."""
        return 1.0 - self.sigma(t)

    def sigma(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """s = t / T, (b,) float32."""
        s = t.float() / self.num_steps
        return 1.0 - s if self.inverted else s

    def u(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """s."""
        return self.sigma(t)

    def times(self, uniform: Float[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """Times in (0, T], float32 (b,): s uniform, then shifted."""
        s = 1.0 - uniform.double()
        s = self.shift * s / (1.0 + (self.shift - 1.0) * s)
        return ((1.0 - s if self.inverted else s) * self.num_steps).float()

    def describe(self) -> dict[str, Any]:
        """The kind and numbers that tell two paths apart, for the manifest of D."""
        found = {"kind": "flow", "num_steps": self.num_steps, "shift": self.shift}
        return {**found, "inverted": True} if self.inverted else found


@dataclass(frozen=True, eq=False)
class TablePath(_Gaussian):
    """Any Gaussian process, measured on the scheduler's own steps; it is known at those times only.

    Attributes:
        table: (T,) float64 the scheduler's times, from pure noise down.
        alphas, sigmas: (T,) float64, of what the denoiser is given.
        name: of the scheduler.
        is_scaled: that is another x_t than the scheduler steps (EDM scales its input).
    """

    table: Tensor
    alphas: Tensor
    sigmas: Tensor
    name: str = ""
    is_scaled: bool = False

    def _index(self, t: Shaped[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        return (t.double().unsqueeze(-1) - self.table.to(t.device)).abs().argmin(dim=-1)

    def alpha(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """(b,) float32."""
        return self.alphas.to(t.device)[self._index(t)].float()

    def sigma(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """(b,) float32."""
        return self.sigmas.to(t.device)[self._index(t)].float()

    def u(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The share of the scheduler's steps from here to no noise."""
        return 1.0 - self._index(t).float() / len(self.table)

    def times(self, uniform: Float[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """Times of the table, float32 (b,); larger draws give more noise."""
        index = ((1.0 - uniform.double()) * len(self.table)).long().clamp(max=len(self.table) - 1)
        return self.table.to(uniform.device)[index].float()

    def describe(self) -> dict[str, Any]:
        """The kind and numbers that tell two paths apart, for the manifest of D."""
        ends = [0, len(self.table) // 2, len(self.table) - 1]
        sigmas = [float(f"{float(self.sigmas[k] / self.alphas[k]):.6g}") for k in ends]
        return {"kind": "table", "num_steps": len(self.table), "sigmas": sigmas}


@dataclass(frozen=True, eq=False)
class Between(_Gaussian):
    """A path of which only the times from `low` to `high` are drawn: those at which an expert for them is called."""

    path: Any
    low: float
    high: float

    def alpha(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """As the whole path's."""
        return self.path.alpha(t)

    def sigma(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """As the whole path's."""
        return self.path.sigma(t)

    def u(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """As the whole path's."""
        return self.path.u(t)

    def times(self, uniform: Float[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """The whole path's draws, those outside mapped inside in order."""
        grid = self.path.times((torch.arange(4096, dtype=torch.float64) + 0.5) / 4096)
        inside = grid[(grid >= self.low) & (grid <= self.high)].to(uniform.device)
        return inside[(uniform.double() * len(inside)).long().clamp(max=len(inside) - 1)]

    def describe(self) -> dict[str, Any]:
        """The kind and numbers that tell two paths apart, for the manifest of D."""
        return {**self.path.describe(), "between": [self.low, min(self.high, 1e9)]}


def between(path: NoisePath, time_range: tuple[float, float] | None) -> NoisePath:
    """The path, restricted to a range of the scheduler's times where one is given.

    Raises:
        UserError: none of the path's times lies in it.
    """
    if time_range is None:
        return path
    found = Between(path, *time_range)
    try:
        found.times(torch.tensor([0.5]))
    except IndexError:
        raise UserError(f"no time of the noise path lies between {time_range[0]:g} and {time_range[1]:g}") from None
    return found


# their x_t is made by arithmetic that a denoiser's input and the scheduler's sample do not share
_NOT_GAUSSIAN = ("VQDiffusion", "Amused", "SCM", "KarrasVe", "ScoreSde", "RePaint", "IPNDM")


def noise_path(scheduler: Any) -> NoisePath:
    """The forward process of a diffusers scheduler: by its config, or measured on its own steps.

    Raises:
        UserError: no Gaussian process, by name.
    """
    config, kinds, flags = scheduler.config, ("FlowMatch", "LTXEulerAncestralRF"), ("use_flow_sigmas", "use_flow_sigma")
    names = [cls.__name__ for cls in type(scheduler).__mro__]  # a scheduler of a user's own is of a kind by its bases
    name = next((one for one in names if one.startswith((*kinds, "EDM", *_NOT_GAUSSIAN))), names[0])
    is_flow = name.startswith(kinds) or any(config.get(flag) for flag in flags)
    if is_flow or config.get("prediction_type") in ("flow_prediction", "flow"):
        shift = config.get("shift") or config.get("flow_shift") or 1.0
        steps, inverted = int(config.get("num_train_timesteps", 1000)), bool(config.get("invert_sigmas"))
        return FlowPath(num_steps=steps, shift=float(shift), inverted=inverted)
    table = getattr(scheduler, "alphas_cumprod", None)
    kind = (config.get("timestep_type"), config.get("prediction_type"))
    is_continuous = kind == ("continuous", "v_prediction") or name.startswith("EDM")
    if table is not None and not is_continuous and not name.startswith(_NOT_GAUSSIAN):
        return VPPath(torch.as_tensor(table).double())
    found = None if name.startswith(_NOT_GAUSSIAN) else _measured(scheduler)
    if found is None:
        raise UserError(
            f"the noise process of {name} is neither VP (betas) nor flow matching (sigmas) nor a Gaussian one that "
            "could be measured; give the pipeline one of diffusers' DDIM, DPM-Solver, PNDM, Euler or FlowMatch ones"
        )
    return found


def _measured(scheduler: Any) -> TablePath | None:
    """alpha and sigma at the scheduler's own times, by adding noise to nothing and nothing to a signal."""
    one, shape = copy.deepcopy(scheduler), (1, 1, 1, 1)
    total = int(one.config.get("num_train_timesteps") or 1000)
    try:
        one.set_timesteps(min(total, 1000) if total > 1 else 1000)
        times = [t for t in one.timesteps.flatten() if float(t) != 0.0 or float(one.timesteps.min()) < 0.0]
        rows = []
        for t in times:
            at = t.reshape(1)
            signal = one.add_noise(torch.ones(shape), torch.zeros(shape), at)
            noise = one.add_noise(torch.zeros(shape), torch.ones(shape), at)
            rows.append([float(signal), float(noise)])
        scales = _scales(scheduler, one, times)
    except (AttributeError, TypeError, ValueError, NotImplementedError, RuntimeError, IndexError):
        return None
    found = torch.tensor(rows, dtype=torch.float64) * torch.tensor(scales, dtype=torch.float64).unsqueeze(1)
    table, ratio = torch.stack([t.double().reshape(()) for t in times]), found[:, 1] / found[:, 0]
    if len(found) < 2 or not bool(found.isfinite().all()) or not bool((ratio[1:] <= ratio[:-1] + 1e-9).all()):
        return None
    return TablePath(table, found[:, 0], found[:, 1], type(one).__name__, is_scaled=set(scales) != {1.0})


def _scales(scheduler: Any, one: Any, times: Sequence[Tensor]) -> list[float]:
    """The factor that the scheduler puts on the denoiser's input at each time."""
    if not hasattr(one, "scale_model_input"):
        return [1.0] * len(times)
    fresh = copy.deepcopy(scheduler)
    fresh.set_timesteps(len(one.timesteps))
    ones, found = torch.ones(1, 1, 1, 1), []
    for t in times:
        fresh._step_index = None
        found.append(float(fresh.scale_model_input(ones, t)))
    return found
