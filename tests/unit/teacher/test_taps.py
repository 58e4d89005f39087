"""Taps see what modules return, leave nothing behind, and refuse a feature that trains nothing."""

from __future__ import annotations

import pytest
import torch

from condistill.teacher.taps import taps
from tests import tiny


def run(unet: torch.nn.Module) -> torch.Tensor:
    return unet(torch.randn(2, 4, 8, 8), torch.tensor([1, 2]), torch.randn(2, 5, 16)).sample


def hooks(module: torch.nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


def test_a_block_gives_its_hidden_state() -> None:
    unet = tiny.sd().unet
    with taps(unet, ["down_blocks.0", "mid_block", "up_blocks.3"], need_gradient=True) as features:
        run(unet)
    assert {name: tuple(f.shape) for name, f in features.items()} == {
        "down_blocks.0": (2, 16, 4, 4),
        "mid_block": (2, 32, 1, 1),
        "up_blocks.3": (2, 16, 8, 8),
    }
    assert hooks(unet) == 0


def test_no_hook_is_left_after_an_error() -> None:
    unet = tiny.sd().unet
    with pytest.raises(RuntimeError), taps(unet, ["mid_block"]):
        raise RuntimeError
    assert hooks(unet) == 0


def test_unknown_module_and_module_not_run_are_named() -> None:
    unet = tiny.sd().unet
    with pytest.raises(ValueError, match=r"no module 'down_blocks\.9'"), taps(unet, ["down_blocks.9"]):
        pass
    with pytest.raises(ValueError, match="'mid_block' was not run"), taps(unet, ["mid_block"]):
        pass


def test_feature_without_gradient_is_refused() -> None:
    unet = tiny.sd().unet
    unet.requires_grad_(False)
    with (
        pytest.raises(ValueError, match="'mid_block' carries no gradient"),
        taps(unet, ["mid_block"], need_gradient=True),
    ):
        run(unet)


def test_gradient_checkpointing_keeps_the_gradient() -> None:
    unet = tiny.sd().unet.train()
    unet.enable_gradient_checkpointing()
    with taps(unet, ["down_blocks.1", "up_blocks.1"], need_gradient=True) as features:
        run(unet)
    sum(f.square().sum() for f in features.values()).backward()  # type: ignore[union-attr]
    assert unet.down_blocks[0].resnets[0].conv1.weight.grad.abs().sum() > 0
