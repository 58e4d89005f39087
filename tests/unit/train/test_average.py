"""The moving average in one pass against diffusers' own."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from condistill.train.average import Average


def test_it_is_the_average_that_diffusers_takes() -> None:
    """To the last bits of float32: interpolation adds in another order while the decay is below one half."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    ours: Any = Average(network.parameters(), decay=0.9, foreach=True)
    theirs: Any = EMAModel(network.parameters(), decay=0.9, foreach=True)
    first = [value.clone() for value in ours.shadow_params]
    for _ in range(100):
        with torch.no_grad():
            for p in network.parameters():
                p.add_(torch.randn_like(p))
        for average in (ours, theirs):
            average.step(network.parameters())
        assert ours.optimization_step == theirs.optimization_step and ours.cur_decay_value == theirs.cur_decay_value
    assert ours.cur_decay_value == 0.9  # the rule was seen to its end
    for a, b, before in zip(ours.shadow_params, theirs.shadow_params, first, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5) and not torch.allclose(a, before, atol=0.1)
        assert not a.requires_grad
