"""The exact world: prompts that are Gaussians, and a teacher that is their closed-form conditional score.

A real DiffusionPipeline of two components, so that everything that runs on Stable Diffusion runs on it, in milliseconds
and without a network that had to be trained. It shows the mechanism of random conditioning; it must not be used to rank
p(t) for images.

>>> pipeline = pipeline_of(num_concepts=4)
>>> pipeline(["gaussian 1"], num_inference_steps=2).images.shape
torch.Size([1, 2])
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, DDIMScheduler, DiffusionPipeline, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from condistill.errors import UserError

if TYPE_CHECKING:
    from condistill.teacher import Teacher


class ExactDenoiser(ModelMixin, ConfigMixin):
    """E[eps | x_t, c] of x0 ~ N(mu_c, spread^2 I) in two dimensions; of the whole mixture for the null code.

    With x_t = alpha x0 + sigma eps and v = alpha^2 spread^2 + sigma^2, E[eps | x_t, c] = sigma (x_t - alpha mu_c) / v.

    Args:
        num_concepts: Gaussians; their means lie on a circle.
        code_size: length of a concept's code, a fixed random unit vector that says nothing about its mean.
        radius: of the circle of means.
        spread: standard deviation of each Gaussian.
        seed: of codes and of the order of the means.
    """

    @register_to_config
    def __init__(
        self, num_concepts: int = 12, code_size: int = 16, radius: float = 2.0, spread: float = 0.2, seed: int = 0
    ):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randn(num_concepts, code_size, generator=generator)
        angles = 2 * math.pi * torch.randperm(num_concepts, generator=generator) / num_concepts
        means = radius * torch.stack([angles.cos(), angles.sin()], dim=1)
        # parameters, so that the network has a dtype and a device as every denoiser has
        self.codes = nn.Parameter(codes / codes.norm(dim=1, keepdim=True), requires_grad=False)
        self.means = nn.Parameter(means, requires_grad=False)
        self.alphas_cumprod = nn.Parameter(scheduler().alphas_cumprod, requires_grad=False)
        self.spread = spread

    def forward(
        self,
        sample: Float[Tensor, "b 2"],
        timestep: Shaped[Tensor, " *b"],
        code: Float[Tensor, "b d"],
        return_dict: bool = False,
    ) -> tuple[Float[Tensor, "b 2"]]:
        """The expected noise, (b, 2)."""
        steps = torch.as_tensor(timestep, device=sample.device).long().reshape(-1).expand(len(sample))
        abar = self.alphas_cumprod[steps].unsqueeze(1)  # (b, 1)
        variance = abar * self.spread**2 + 1 - abar
        centres = abar.sqrt().unsqueeze(1) * self.means  # (b, k, 2)
        is_null = code.norm(dim=1, keepdim=True) < 0.5  # (b, 1)
        far = (sample.unsqueeze(1) - centres).square().sum(-1) / (2 * variance)  # (b, k)
        chosen = torch.where(is_null, -far, 1e4 * (code @ self.codes.T))
        weights = chosen.softmax(dim=1).unsqueeze(-1)  # (b, k, 1)
        return ((1 - abar).sqrt() * (sample - (weights * centres).sum(1)) / variance,)


class ExactStudent(ModelMixin, ConfigMixin):
    """A small network that has to learn what `ExactDenoiser` knows: two hidden layers over (x_t, time, code)."""

    @register_to_config
    def __init__(self, code_size: int = 16, hidden: int = 128):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 + 8 + code_size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2)
        )

    def forward(
        self,
        sample: Float[Tensor, "b 2"],
        timestep: Shaped[Tensor, " *b"],
        code: Float[Tensor, "b d"],
        return_dict: bool = False,
    ) -> tuple[Float[Tensor, "b 2"]]:
        """The predicted noise, (b, 2)."""
        u = torch.as_tensor(timestep, device=sample.device).float().reshape(-1, 1).expand(len(sample), 1) / 1000
        waves = torch.cat([f(u * math.pi * 2**k) for k in range(4) for f in (torch.sin, torch.cos)], dim=1)
        return (self.layers(torch.cat([sample, waves.to(sample), code], dim=1)),)


class ExactPipeline(DiffusionPipeline):
    """Samples from the Gaussian that a prompt names; "" names all of them."""

    def __init__(self, transformer: nn.Module, scheduler: Any, codes: nn.Module):
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler, codes=codes)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        num_inference_steps: int = 15,
        generator: Any = None,
        output_type: str = "np",
    ) -> SimpleNamespace:
        """`images` (n, 2): the sampled points. A prompt is "gaussian K"; any other text names one by its letters."""
        prompts = [prompt] if isinstance(prompt, str) else prompt
        code = torch.stack([self._code(text) for text in prompts])
        drawn = generator if isinstance(generator, list) else [generator] * len(prompts)
        x = torch.stack([torch.randn(2, generator=one) for one in drawn])
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps:
            eps = self.transformer(x, t, code, return_dict=False)[0]
            x = self.scheduler.step(eps, t, x).prev_sample
        return SimpleNamespace(images=x)

    def _code(self, text: str) -> Tensor:
        table = self.codes.codes.detach()
        if not text:
            return torch.zeros_like(table[0])
        word, _, number = text.partition(" ")
        if word != "gaussian" or not number.isdigit() or int(number) >= len(table):
            return table[sum(map(ord, text)) % len(table)]
        return table[int(number)]


def scheduler() -> DDIMScheduler:
    """The exact world's scheduler: 1000 steps, scaled-linear betas, epsilon."""
    return DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.02, clip_sample=False)


def pipeline_of(num_concepts: int = 12, *, seed: int = 0) -> ExactPipeline:
    """The exact teacher as a pipeline."""
    denoiser = ExactDenoiser(num_concepts=num_concepts, seed=seed)
    return ExactPipeline(transformer=denoiser, scheduler=scheduler(), codes=denoiser)


def prompts(group: str = "all", *, num_concepts: int = 12) -> list[str]:
    """The prompts of a group: every third concept is unseen.

    Raises:
        UserError: a group other than seen, unseen and all.
    """
    if group not in ("seen", "unseen", "all"):
        raise UserError(f"group must be seen, unseen or all, got {group!r}")
    names = [f"gaussian {k}" for k in range(num_concepts)]
    return [name for k, name in enumerate(names) if group == "all" or (k % 3 == 0) == (group == "unseen")]


def distances(teacher: Teacher, student: Teacher, *, num_concepts: int, each: int) -> dict[str, float]:
    """Group -> mean distance between the two models' samples from the same noise, `each` of every concept.

    The means lie on a circle of radius 2, so a distance of 2 is a sample in quite another place.
    """
    found = {}
    for group in ("seen", "unseen"):
        keys = [key for key in prompts(group, num_concepts=num_concepts) for _ in range(each)]
        a, b = (one.sample(keys, seed=99, output="latent", batch=len(keys)).latents for one in (teacher, student))
        found[group] = float((a - b).norm(dim=1).mean())
    return found
