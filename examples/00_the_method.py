"""The whole method in one file, with torch alone: a student learns conditions of which it never sees a sample.

    python examples/00_the_method.py          # ten seconds on one CPU core

The teacher is exact: sixteen "prompts" c stand for Gaussians in the plane, so the noise that a perfect network would
predict has a closed form. D has samples of twelve of them; the other four are only names in C.
"""

import math
import os
from itertools import pairwise

import torch
from torch import nn

STEPS = int(os.environ.get("STEPS", "2000"))
NUM_PROMPTS, SPREAD = 16, 0.3
SEEN, UNSEEN = [0, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 15], [1, 6, 9, 14]
MEANS = 2 * torch.view_as_real(torch.exp(2j * math.pi * torch.arange(NUM_PROMPTS) / NUM_PROMPTS))  # (16, 2)


def noise_path(u):
    """alpha_t and sigma_t at u = t / T; u = 1 is pure noise."""
    return torch.cos(u * math.pi / 2)[:, None], torch.sin(u * math.pi / 2)[:, None]


def teacher(x_t, u, c):
    """The expected noise in x_t, given that x0 ~ N(MEANS[c], SPREAD^2)."""
    alpha, sigma = noise_path(u)
    return sigma * (x_t - alpha * MEANS[c]) / (alpha**2 * SPREAD**2 + sigma**2)


class Student(nn.Module):
    """A small network with an embedding for each prompt: what it was never asked about, it cannot know."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(NUM_PROMPTS, 32)
        self.body = nn.Sequential(nn.Linear(32 + 4, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))

    def forward(self, x_t, u, c):
        return self.body(torch.cat([x_t, *noise_path(u), self.embed(c)], dim=1))


def distil(p_random):
    torch.manual_seed(0)
    student = Student()
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    lr_schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, STEPS)
    for _ in range(STEPS):
        c = torch.tensor(SEEN)[torch.randint(len(SEEN), (256,))]
        x0 = MEANS[c] + SPREAD * torch.randn(256, 2)  # (x0, c) ~ D
        u, eps = torch.rand(256), torch.randn(256, 2)
        alpha, sigma = noise_path(u)
        x_t = alpha * x0 + sigma * eps
        # random conditioning: any prompt of C, also one that D lacks
        c = torch.where(torch.rand(256) < p_random(u), torch.randint(NUM_PROMPTS, (256,)), c)
        loss = (student(x_t, u, c) - teacher(x_t, u, c)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lr_schedule.step()
    return student


@torch.no_grad()
def off_target(network, prompts, num=64, num_steps=40):
    """How far from their prompt's mean the samples of a deterministic sampler (DDIM) land, on average."""
    torch.manual_seed(1)
    c, x = torch.tensor(prompts).repeat_interleave(num), torch.randn(num * len(prompts), 2)
    for u, lower in pairwise(torch.linspace(0.98, 0, num_steps + 1)[:, None]):
        (alpha, sigma), (alpha_next, sigma_next) = noise_path(u), noise_path(lower)
        eps = network(x, u.expand(len(c)), c)
        x = alpha_next * (x - sigma * eps) / alpha + sigma_next * eps
    return (x - MEANS[c]).norm(dim=1).mean().item()


without, with_it = distil(torch.zeros_like), distil(lambda u: torch.exp(-5 * (1 - u)))
for name, network in {"teacher": teacher, "without": without, "with random conditioning": with_it}.items():
    print(f"{name:25}off target: seen {off_target(network, SEEN):.2f}, unseen {off_target(network, UNSEEN):.2f}")
