"""How fast do the noised distributions of different conditions become one?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from condistill.errors import UserError
from condistill.maths.draws import normal, numbers
from condistill.probes.kinds import Chart, Curve, Finding, Material

NUM_LEVELS = 21


@dataclass(frozen=True)
class Merging:
    """By noise level, the probability that x_t came from its own condition, against chance.

        x_t = alpha_t x0 + sigma_t eps,  x0 ~ c;   p(c | x_t) of m conditions with equal priors, where
        p(x_t | c') = the mean over the samples x0' of c' of N(x_t; alpha_t x0', sigma_t^2), x0 itself left out

    The distributions are those of a few samples, so at little noise the probability says which sample is nearest; where
    it has fallen to chance, 1 / m, the conditions can no longer be told apart. `share` needs no density: the part of
    x_t's variance, per element, that lies between the conditions' means.

    Source: the question is that of arXiv 2504.02011, Fig. 5; the estimate is ours.
    """

    name: str = "merging"
    label: str = "merging of the noised distributions"

    def parts(self, material: Material) -> int:
        """Noise levels."""
        return NUM_LEVELS

    def ask(self, material: Material, advance: Callable[[int], None]) -> Finding:
        """`levels`: u, right (low, high), chance and share of each.

        Raises:
            UserError: a single sample for each key.
        """
        x0, path = material.latents.double().flatten(2), material.teacher.noise_path  # (m, r, d)
        m, r, _ = x0.shape
        if r < 2:
            raise UserError("merging compares a sample with others of its condition; take two samples a key or more")
        within = x0.var(dim=1).mean()
        between = (x0.mean(dim=1).var(dim=0).mean() - within / r).clamp(min=0)
        times = path.times(torch.linspace(0, 1 - 1e-6, NUM_LEVELS, dtype=torch.float64))
        u = path.u(times)
        levels = []
        for k in torch.argsort(u).tolist():
            alpha, sigma = (float(f(times[k : k + 1])) for f in (path.alpha, path.sigma))
            eps = normal(material.seed, f"probe/noise/{k}", numbers(0, m * r), x0.shape[2:]).double().view_as(x0)
            right = _posterior(alpha * x0, alpha * x0 + sigma * eps, sigma).numpy()
            half = 1.96 * right.std(ddof=1) / np.sqrt(right.size)
            share = alpha**2 * between / (alpha**2 * (between + within) + sigma**2)
            levels.append({"u": float(u[k]), "right": float(right.mean()), "low": float(right.mean() - half),
                           "high": float(right.mean() + half), "share": float(share)})  # fmt: skip
            advance(1)
        rows = [[f"{v['u']:.2f}", f"{v['right']:.3f}", f"{v['share']:.3f}"] for v in levels]
        curves = (
            Curve("own condition", *([v[name] for v in levels] for name in ("u", "right", "low", "high"))),
            Curve("chance", [0.0, 1.0], [1 / m, 1 / m]),
            Curve("share of variance between conditions", *([v[name] for v in levels] for name in ("u", "share"))),
        )
        chart = Chart("Probability that x_t came from its own condition", curves)
        return Finding({"chance": 1 / m, "levels": levels}, [["u", "own condition", "share"], *rows], (chart,))


def _posterior(centres: Tensor, x_t: Tensor, sigma: float) -> Tensor:
    """(m, r): for each x_t (m, r, d) the probability of its own condition, its own centre (m, r, d) left out."""
    m, r, d = centres.shape
    far = torch.cdist(x_t.reshape(m * r, d), centres.reshape(m * r, d)).square()  # (m r, m r)
    log_kernel = (-far / (2 * sigma**2)).fill_diagonal_(-torch.inf)
    by_condition = log_kernel.view(m * r, m, r).logsumexp(dim=2)  # (m r, m)
    own = torch.arange(m).repeat_interleave(r)
    counts = torch.full((m * r, m), float(r)).scatter_(1, own[:, None], float(r - 1))
    return (by_condition - counts.log()).softmax(dim=1).gather(1, own[:, None]).view(m, r)


PROBE = Merging()
