"""What a pipeline switches in its denoiser is put back, and noted where it is another way at some steps."""

from __future__ import annotations

import pytest
from torch import nn

from condistill.teacher.state import same_state, state_of, switched
from tests.contract import battery
from tests.tiny.catalogue import catalogue


def test_switches_are_put_back() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    before = state_of(network)
    with pytest.raises(RuntimeError), same_state(network):
        network[1].train(not network[1].training)
        assert switched(before, state_of(network)) == "1.training"
        raise RuntimeError
    assert switched(before, state_of(network)) is None


def test_the_denoiser_is_the_same_after_sampling() -> None:
    case = catalogue()["gligen"]
    teacher = battery.recorded(case)
    before = state_of(teacher.network)
    own = {**case.call(), "gligen_scheduled_sampling_beta": 0.5, "num_inference_steps": 2}
    teacher.sample([case.keys[0]], call=own, output="latent")
    assert switched(before, state_of(teacher.network)) is None
