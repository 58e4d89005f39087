"""Pipelines as users write them: a loop, a network and a sampler of their own, none of which diffusers knows."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from tests.tiny.case import Case
from tests.tiny.dits_parts import seeded
from tests.tiny.pipelines import text_encoder, tokenizer


class OwnNetwork(ModelMixin, ConfigMixin):
    """A few layers that see x_t, a time and the mean of the words."""

    @register_to_config
    def __init__(self, channels: int = 4, hidden: int = 16, num_layers: int = 4, words: int = 16):
        super().__init__()
        self.enter = nn.Conv2d(channels, hidden, 1)
        self.told = nn.Linear(words + 2, hidden)
        self.layers = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(num_layers))
        self.leave = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor, noise_level: Tensor, words: Tensor) -> Tensor:
        """What it makes of x (b, c, h, w) at the level (b,), told the words (b, n, d)."""
        time = torch.stack([noise_level.sin(), noise_level.cos()], dim=-1).to(words.dtype)
        told = self.told(torch.cat([words.mean(dim=1), time], dim=-1))[:, :, None, None]
        hidden = self.enter(x)
        for layer in self.layers:
            hidden = hidden + layer(torch.nn.functional.silu(hidden + told))
        return self.leave(hidden)


class OwnSampler(FlowMatchEulerDiscreteScheduler):
    """Flow matching that takes a step of its own kind, and counts its times from 0 to 1."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **_: Any) -> tuple[Tensor]:  # type: ignore[override]
        """x_t less the velocity times the step."""
        if self.step_index is None:
            self._init_step_index(timestep)
        k = self._step_index
        self._step_index = k + 1
        return (sample + (self.sigmas[k + 1] - self.sigmas[k]) * model_output,)


class OwnPipeline(DiffusionPipeline):
    """Text to picture without an autoencoder.

    `ratio` tells the network s / (1 + s) of the noise level s without scaling x_t by it, as no process does.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any, net: OwnNetwork, sampler: OwnSampler, ratio: bool = False):
        super().__init__()
        self.register_modules(tokenizer=tokenizer, text_encoder=text_encoder, net=net, sampler=sampler)
        self.register_to_config(ratio=ratio)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        size: int = 8,
        num_inference_steps: int = 4,
        guidance_scale: float = 3.0,
        generator: Any = None,
        output_type: str = "np",
    ) -> Any:
        """Pictures, one a prompt."""
        prompts = [prompt] if isinstance(prompt, str) else prompt
        no, words = self._words([""] * len(prompts)), self._words(prompts)
        x = randn_tensor((len(prompts), self.net.config.channels, size, size), generator=generator)
        self.sampler.set_timesteps(num_inference_steps)
        for k, t in enumerate(self.progress_bar(self.sampler.timesteps)):
            s = self.sampler.sigmas[k]
            level = (s / (1.0 + s) if self.config.ratio else t / 1000).expand(len(prompts))
            guided = self.net(x, level, words)
            guided = guided + (guidance_scale - 1.0) * (guided - self.net(x, level, no))
            x = self.sampler.step(guided, t, x)[0]
        return x if output_type == "latent" else (x.permute(0, 2, 3, 1).clamp(-1, 1).numpy() / 2 + 0.5,)

    def _words(self, prompts: list[str]) -> Tensor:
        read = self.tokenizer(prompts, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
        return self.text_encoder(read.input_ids)[0]


def own(ratio: bool = False) -> OwnPipeline:
    """Such a pipeline."""
    with seeded():
        return OwnPipeline(tokenizer(), text_encoder(), OwnNetwork().eval(), OwnSampler(), ratio)


CASES = (
    Case("own", "your own", own),
    Case("own-ratio", "your own", lambda: own(ratio=True)),
)
