"""Noise paths agree with diffusers' own schedulers and with themselves."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DDPMWuerstchenScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    KarrasVeScheduler,
    PNDMScheduler,
    SCMScheduler,
    VQDiffusionScheduler,
)

from condistill.errors import UserError
from condistill.maths.draws import numbers, uniforms
from condistill.maths.noise_path import FlowPath, VPPath, between, noise_path

SD = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
UNIFORM = torch.from_numpy(uniforms(0, "t", numbers(0, 4000)))


@pytest.mark.parametrize("kind", [DDIMScheduler, PNDMScheduler, DDPMScheduler])
def test_vp_is_the_schedulers_add_noise_at_every_timestep(kind: type) -> None:
    scheduler = kind(**SD)
    path = noise_path(scheduler)
    t = torch.arange(1000)
    x0, eps = torch.randn(1000, 3, 2), torch.randn(1000, 3, 2)
    # float32 tables in diffusers against ours in float64
    torch.testing.assert_close(path.add_noise(x0, eps, t), scheduler.add_noise(x0, eps, t), rtol=1e-4, atol=1e-5)


def test_vp_of_a_sigma_scheduler_is_its_scaled_sample() -> None:
    """Euler's network input is its sample over sqrt(sigma^2 + 1): the same variance-preserving x_t."""
    scheduler = EulerDiscreteScheduler(**SD)
    scheduler.set_timesteps(20)
    path, t = noise_path(scheduler), scheduler.timesteps[3]
    x0, eps = torch.randn(1, 4), torch.randn(1, 4)
    sample = scheduler.add_noise(x0, eps, t[None])
    ours = path.add_noise(x0, eps, t[None].round())
    torch.testing.assert_close(ours, scheduler.scale_model_input(sample, t), rtol=2e-2, atol=2e-2)


def test_flow_is_the_schedulers_scale_noise() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    path = noise_path(scheduler)
    assert path == FlowPath(num_steps=1000, shift=3.0)
    x0, eps, t = torch.randn(1000, 2), torch.randn(1000, 2), scheduler.timesteps
    torch.testing.assert_close(path.add_noise(x0, eps, t), scheduler.scale_noise(x0, t, eps), rtol=1e-4, atol=1e-5)


def test_flow_times_follow_the_schedulers_shift() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    path = noise_path(scheduler)
    drawn, own = path.times(UNIFORM).sort().values, scheduler.timesteps.sort().values
    at = torch.linspace(0.05, 0.95, 10)
    torch.testing.assert_close(torch.quantile(drawn, at), torch.quantile(own, at), rtol=0.05, atol=5.0)


@pytest.mark.parametrize("path", [noise_path(DDIMScheduler(**SD)), FlowPath(), FlowPath(shift=3.0)], ids=str)
def test_u_and_snr_are_monotone_and_bounded(path: VPPath | FlowPath) -> None:
    t = path.times(UNIFORM).sort().values.unique()
    u, snr = path.u(t), path.log_snr(t)
    assert u.min() >= 0 and u.max() <= 1
    assert (u.diff() > 0).all()
    assert (snr.diff() < 0).all()
    torch.testing.assert_close(snr, 2 * (path.alpha(t) / path.sigma(t)).log())


def test_vp_times_are_uniform_whole_steps() -> None:
    path = noise_path(DDIMScheduler(**SD))
    t = path.times(UNIFORM)
    assert t.dtype == torch.int64 and t.min() >= 0 and t.max() <= 999
    counts = np.bincount(t.numpy() // 100, minlength=10)
    # 4000 draws in 10 bins: standard deviation 19
    assert (abs(counts - 400) < 100).all()
    assert path.times(torch.tensor([0.0, 1.0 - 2**-53], dtype=torch.float64)).tolist() == [0, 999]


def test_half_precision_latents_are_noised_in_float32() -> None:
    path = noise_path(DDIMScheduler(**SD))
    x0 = torch.full((1, 4), 8.0, dtype=torch.float16)
    eps = torch.full((1, 4), 0.01)
    noised = path.add_noise(x0, eps, torch.tensor([0]))
    assert noised.dtype == torch.float32
    assert noised[0, 0] != noised[0, 0].half().float()


@pytest.mark.parametrize(
    "sampler",
    [
        EDMEulerScheduler(),
        EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction", **SD),
        DDPMWuerstchenScheduler(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_another_gaussian_process_is_measured_on_its_own_steps(sampler: Any) -> None:
    path = noise_path(sampler)
    assert path.describe()["kind"] == "table"
    own = copy.deepcopy(sampler)
    own.set_timesteps(path.describe()["num_steps"])
    x0, eps = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    for k in (0, 1, 500, 998):
        t = own.timesteps[k].reshape(1)
        wanted = own.scale_model_input(own.add_noise(x0, eps, t), t[0])
        own._step_index = None
        torch.testing.assert_close(path.add_noise(x0, eps, t), wanted, rtol=1e-4, atol=1e-5)
    t = path.times(UNIFORM).sort().values.unique()
    assert path.u(t).min() >= 0 and path.u(t).max() <= 1
    by_u = path.u(t).argsort()
    assert (path.log_snr(t)[by_u].diff() <= 0).all()


def test_a_flow_that_counts_from_noise_is_inverted() -> None:
    path = noise_path(FlowMatchEulerDiscreteScheduler(invert_sigmas=True))
    t = torch.tensor([0.0, 250.0, 1000.0])
    assert path.sigma(t).tolist() == [1.0, 0.75, 0.0] and path.u(t).tolist() == [1.0, 0.75, 0.0]
    assert path.times(torch.tensor([0.0])).tolist() == [0.0]


def test_an_expert_draws_only_the_times_it_is_called_at() -> None:
    path = between(FlowPath(), (900.0, float("inf")))
    t = path.times(UNIFORM)
    assert t.min() >= 900 and t.max() <= 1000 and abs(float(t.mean()) - 950) < 5
    with pytest.raises(UserError, match="between"):
        between(FlowPath(), (2000.0, 3000.0))


@pytest.mark.parametrize("sampler", [SCMScheduler(), KarrasVeScheduler(), VQDiffusionScheduler(num_vec_classes=8)])
def test_other_noise_processes_are_refused_by_name(sampler: Any) -> None:
    with pytest.raises(UserError, match=type(sampler).__name__):
        noise_path(sampler)
