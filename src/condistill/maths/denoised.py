"""From a network's prediction to the clean sample that it implies, x0 = E[x0 | x_t, c] for an exact network.

>>> import torch
>>> from condistill.maths.noise_path import FlowPath
>>> path = FlowPath(num_steps=1000)
>>> denoised(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([250.0]), path=path, prediction_type="flow")
tensor([[0.7500, 0.7500]])
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor

from condistill.errors import UserError
from condistill.maths.noise_path import NoisePath

KINDS = ("epsilon", "v_prediction", "sample", "flow")


def denoised(
    prediction: Float[Tensor, "b *out"],
    x_t: Float[Tensor, "b *latent"],
    t: Shaped[Tensor, " b"],
    *,
    path: NoisePath,
    prediction_type: str,
) -> Float[Tensor, "b *latent"]:
    """x0 in float32: (x_t - sigma eps) / alpha, alpha x_t - sigma v, or x_t - sigma velocity.

    Args:
        prediction: the network's output; channels beyond those of x_t (a learned variance) are left out.
        x_t: (b, *latent).
        t: (b,) times of the scheduler.
        path: the noise path of x_t.
        prediction_type: "epsilon", "v_prediction", "sample" or "flow".

    Raises:
        UserError: another prediction type, or a process whose network input is scaled (EDM).
    """
    about = path.describe()
    if not implies_x0(path, prediction_type):
        raise UserError(
            f"x0 cannot be had from the prediction of this teacher ({prediction_type}, {about['kind']} process); "
            f"known: {', '.join(KINDS)} on a VP or flow process"
        )
    column = (-1, *[1] * (x_t.ndim - 1))
    alpha, sigma = path.alpha(t).view(column), path.sigma(t).view(column)
    said, x = prediction.float()[:, : x_t.shape[1]], x_t.float()
    if about["kind"] == "flow":
        return x + sigma * said if about.get("inverted") else x - sigma * said
    if prediction_type == "sample":
        return said
    return alpha * x - sigma * said if prediction_type == "v_prediction" else (x - sigma * said) / alpha


def implies_x0(path: NoisePath, prediction_type: str) -> bool:
    """Whether `denoised` knows what such a prediction says of x0."""
    return path.describe()["kind"] != "table" and prediction_type in KINDS


def kind_of(scheduler: Any, path: NoisePath) -> str:
    """The prediction type by a diffusers scheduler's config and its noise path; epsilon where they say nothing."""
    return "flow" if path.describe()["kind"] == "flow" else str(scheduler.config.get("prediction_type", "epsilon"))
