"""Noise paths: from x0 and eps to x_t, as the teacher's own scheduler defines it.

Two kinds, one interface. `t` is always the scheduler's own time, (b,); u(t) in [0, 1] is the share of the way to pure
noise and is what p(u) takes.

>>> path = FlowPath(num_steps=1000)
>>> path.add_noise(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([250.0]))
tensor([[0.2500, 0.2500]])
"""

from __future__ import annotations

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
    def add_noise(
        self, x0: Float[Tensor, "b *latent"], eps: Float[Tensor, "b *latent"], t: Shaped[Tensor, " b"]
    ) -> Float[Tensor, "b *latent"]: ...
    def describe(self) -> dict[str, Any]: ...


class _Gaussian:
    """What both kinds share: everything that follows from alpha(t) and sigma(t)."""

    def log_snr(self: Any, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """log(alpha^2 / sigma^2), (b,) float32."""
        return 2.0 * (self.alpha(t).log() - self.sigma(t).log())

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
    """

    num_steps: int = 1000
    shift: float = 1.0

    def alpha(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """1 - s, (b,) float32."""
        return 1.0 - self.sigma(t)

    def sigma(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """s = t / T, (b,) float32."""
        return t.float() / self.num_steps

    def u(self, t: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """s."""
        return self.sigma(t)

    def times(self, uniform: Float[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """Times in (0, T], float32 (b,): s uniform, then shifted."""
        s = 1.0 - uniform.double()
        s = self.shift * s / (1.0 + (self.shift - 1.0) * s)
        return (s * self.num_steps).float()

    def describe(self) -> dict[str, Any]:
        """The kind and numbers that tell two paths apart, for the manifest of D."""
        return {"kind": "flow", "num_steps": self.num_steps, "shift": self.shift}


def noise_path(scheduler: Any) -> NoisePath:
    """The forward process that a diffusers scheduler's config describes.

    Raises:
        UserError: the scheduler is neither variance preserving (betas) nor flow matching (sigmas).
    """
    config, name = scheduler.config, type(scheduler).__name__
    is_flow = name.startswith("FlowMatch") or config.get("use_flow_sigmas") or config.get("use_flow_sigma")
    if is_flow or config.get("prediction_type") in ("flow_prediction", "flow"):
        shift = config.get("shift") or config.get("flow_shift") or 1.0
        return FlowPath(num_steps=int(config.get("num_train_timesteps", 1000)), shift=float(shift))
    table = getattr(scheduler, "alphas_cumprod", None)
    if table is None or name.startswith(("EDM", "CM", "TCD")):
        raise UserError(
            f"the noise process of {name} is neither VP (betas) nor flow matching (sigmas); "
            "give the pipeline one of diffusers' DDIM, DPM-Solver, PNDM, Euler or FlowMatch schedulers"
        )
    return VPPath(torch.as_tensor(table).double())
