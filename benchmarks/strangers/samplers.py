"""Schedulers: every class of diffusers, its options drawn from its own signature."""

from __future__ import annotations

import inspect
from random import Random
from typing import Any

import diffusers

# field -> what is drawn for it; a class is given those of its fields that were drawn
VP: dict[str, tuple[Any, ...]] = {
    "prediction_type": ("epsilon", "epsilon", "v_prediction", "sample"),
    "beta_schedule": ("linear", "scaled_linear", "scaled_linear", "squaredcos_cap_v2"),
    "timestep_spacing": ("leading", "linspace", "trailing"),
    "rescale_betas_zero_snr": (False, False, True),
    "clip_sample": (False, True),
    "thresholding": (False, False, True),
    "steps_offset": (0, 1),
    "num_train_timesteps": (1000, 1000, 100, 50),
    "set_alpha_to_one": (True, False),
    "skip_prk_steps": (True, False),
    "variance_type": (None, "fixed_small", "fixed_large"),
    "algorithm_type": ("dpmsolver++", "dpmsolver++", "sde-dpmsolver++", "dpmsolver"),
    "solver_order": (1, 2, 3),
    "final_sigmas_type": ("zero", "sigma_min"),
    "interpolation_type": ("linear", "log_linear"),
    "timestep_type": ("discrete", "discrete", "continuous"),
    "euler_at_final": (False, True),
    "original_inference_steps": (50, 20),
    "use_lu_lambdas": (False, False, True),
    "snr_shift_scale": (3.0, 1.0),
}
FLOW: dict[str, tuple[Any, ...]] = {
    "num_train_timesteps": (1000, 1000, 100),
    "shift": (1.0, 3.0, 0.5, 7.0),
    "shift_terminal": (None, None, 0.1),
    "invert_sigmas": (False, False, False, True),
    "time_shift_type": ("exponential", "linear"),
    "stochastic_sampling": (False, False, True),
    "base_shift": (0.5, 0.25),
}
_SIGMAS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
USUAL = ("PNDMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDPMScheduler")
FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")


def classes() -> list[str]:
    """Every class of diffusers whose name ends in Scheduler."""
    return [n for n in dir(diffusers) if n.endswith("Scheduler") and isinstance(getattr(diffusers, n), type)]


def drawn(rng: Random, name: str, table: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Options for the scheduler class of that name."""
    fields = set(inspect.signature(getattr(diffusers, name).__init__).parameters)
    found = {field: rng.choice(values) for field, values in sorted(table.items()) if field in fields}
    if "FlowMatch" not in name and "beta_start" in fields and rng.random() < 0.8:
        found |= _BETAS
    spaced = rng.choice((None, None, *_SIGMAS))
    if spaced in fields:
        found[spaced] = True
    if found.get("thresholding") and "clip_sample" in found:
        found["clip_sample"] = False
    return found


def usual(rng: Random) -> tuple[str, dict[str, Any]]:
    """One of those that most pipelines come with, and its options."""
    name = rng.choice(USUAL)
    options = drawn(rng, name, {k: VP[k] for k in ("prediction_type", "beta_schedule", "steps_offset", "clip_sample")})
    options.pop("use_beta_sigmas", None)
    return name, options | ({"skip_prk_steps": True} if name == "PNDMScheduler" else {})


def built(name: str, options: dict[str, Any]) -> Any:
    """The scheduler."""
    return getattr(diffusers, name)(**options)
