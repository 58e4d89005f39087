"""Two variances of the exact teacher's predictions, against its closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from condistill import Cache, Teacher, UserError, generate
from condistill.probes.kinds.condition_sensitivity import different_items, sensitivity

SPREAD = 0.2  # of each Gaussian


def test_the_variances_are_those_of_the_gaussians(teacher: Teacher, cache: Cache) -> None:
    """E[x0 | x_t, c] = mu_c sigma^2 / v + x_t alpha s^2 / v with v = alpha^2 s^2 + sigma^2."""
    batch = different_items(cache)
    assert sorted(batch.keys) == sorted({str(key) for key in cache.keys})
    levels = sensitivity(teacher, batch)
    assert [level.u for level in levels] == sorted(level.u for level in levels) and len(levels) == 11
    means: Any = teacher.network.means
    between = float(means.var(dim=0).mean())
    for level in levels:
        t = torch.tensor([int(level.t)])
        alpha, sigma = float(teacher.noise_path.alpha(t)), float(teacher.noise_path.sigma(t))
        v = alpha**2 * SPREAD**2 + sigma**2
        wanted = between * sigma**4 / v**2
        # single precision: eps is divided by alpha, 0.07 at the noisy end
        assert level.over_conditions["x0"] == pytest.approx([wanted] * 6, rel=1e-3)
        # the two parts of this teacher add up, so all of the condition's effect is the same at every x_t
        assert level.shared["x0"] == pytest.approx(wanted, rel=1e-2)
        of_x_t = (alpha * SPREAD**2 / v) ** 2 * (alpha**2 * (between + SPREAD**2) + sigma**2)
        # six noisy points say a variance to within a factor
        assert of_x_t / 4 < level.over_noisy["x0"] < of_x_t * 4
    # in the space of the prediction, eps, the effect has fallen again at pure noise
    by_level = [level.over_conditions["prediction"].mean() for level in levels]
    assert by_level[-1] < max(by_level) / 2


def test_one_key_is_refused(teacher: Teacher, tmp_path: Any) -> None:
    alone = generate(teacher, ["gaussian 1"], out=tmp_path / "D", num_items=3, progress=False)
    with pytest.raises(UserError, match="one key only"):
        different_items(alone)
