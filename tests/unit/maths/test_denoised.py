"""The clean sample that a perfect prediction implies is the clean sample."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from condistill.errors import UserError
from condistill.maths.denoised import denoised, kind_of
from condistill.maths.noise_path import FlowPath, TablePath, VPPath, between

VP = VPPath(torch.linspace(0.999, 0.01, 100, dtype=torch.float64))
T = torch.tensor([3, 40, 97])


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (VP, "epsilon"),
        (VP, "v_prediction"),
        (VP, "sample"),
        (FlowPath(100), "flow"),
        (FlowPath(100, inverted=True), "flow"),
        (between(FlowPath(100), (0.0, 100.0)), "flow"),
    ],
)
def test_a_perfect_prediction_gives_x0(path: object, kind: str) -> None:
    x0, eps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    alpha, sigma = path.alpha(T).view(-1, 1, 1), path.sigma(T).view(-1, 1, 1)  # type: ignore[attr-defined]
    # v is the derivative of x_t along the circle, the velocity that along the scheduler's own direction
    velocity = x0 - eps if path.describe().get("inverted") else eps - x0  # type: ignore[attr-defined]
    said = {"epsilon": eps, "v_prediction": alpha * eps - sigma * x0, "sample": x0, "flow": velocity}[kind]
    x_t = path.add_noise(x0, eps, T)  # type: ignore[attr-defined]
    wide = torch.cat([said, torch.randn(3, 2, 5)], dim=1)  # a learned variance beside it
    for prediction in (said, wide):
        found = denoised(prediction, x_t, T, path=path, prediction_type=kind)  # type: ignore[arg-type]
        torch.testing.assert_close(found, x0, rtol=0, atol=1e-4)


def test_the_kind_is_the_schedulers() -> None:
    def scheduler(**config: str) -> SimpleNamespace:
        return SimpleNamespace(config=config)

    assert kind_of(scheduler(), VP) == "epsilon"
    assert kind_of(scheduler(prediction_type="v_prediction"), VP) == "v_prediction"
    assert kind_of(scheduler(), FlowPath(100)) == "flow"


def test_what_is_not_known_is_refused() -> None:
    table = TablePath(torch.tensor([2.0, 1.0]), torch.ones(2), torch.tensor([1.0, 0.5]), "EDM")
    for path, kind in ((table, "epsilon"), (VP, "velocity")):
        with pytest.raises(UserError, match="x0 cannot be had"):
            denoised(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([1]), path=path, prediction_type=kind)
