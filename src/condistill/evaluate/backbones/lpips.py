"""LPIPS: how different two images look, by torchmetrics' network on AlexNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from condistill.errors import UserError
from condistill.evaluate.backbones.weights import Weights
from condistill.evaluate.pictures import resized
from condistill.maths.randomise import Key

SIZE = 64  # what LPIPS was trained on; small enough to hold all images of a group until they meet
_AT_ONCE = 64


class Lpips:
    """Distances of disjoint pairs of items, (0, 1), (2, 3), ...; an item without partner is left out.

    Until all items are there, their images are held at 64 x 64, 12 KiB each.
    """

    name = "lpips"

    def __init__(self, network: nn.Module, identity: dict[str, Any], device: torch.device):
        self._network, self._device = network.to(device).eval(), device
        self.identity = {**identity, "input": f"{SIZE}: bicubic", "library": "torchmetrics"}

    def features(
        self, images: UInt8[np.ndarray, "n h w 3"], keys: Sequence[Key] | None, wanted: frozenset[str]
    ) -> dict[str, np.ndarray]:
        """ "lpips": the images themselves, small, (n, 64, 64, 3) 8 bit."""
        return {"lpips": resized(images, SIZE)}

    @torch.no_grad()
    def finished(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """ "lpips": (n // 2, 1) float32, the distances."""
        images = torch.from_numpy(features["lpips"]).permute(0, 3, 1, 2)
        pairs = images[: len(images) // 2 * 2].unflatten(0, (-1, 2))  # (p, 2, 3, s, s)
        found = [self._distances(some) for some in pairs.split(_AT_ONCE)]
        return {"lpips": np.concatenate(found) if found else np.zeros((0, 1), dtype=np.float32)}

    def _distances(self, pairs: torch.Tensor) -> np.ndarray:
        first, second = (pairs.to(self._device).float() / 255).unbind(1)
        return self._network(first, second, normalize=True).flatten(1).cpu().numpy()  # (p, 1)


def load(weights: Weights, device: torch.device) -> Lpips:
    """The network on these weights of AlexNet; the weights of its own layers come with torchmetrics.

    Raises:
        UserError: the weights are of another network.
    """
    # the public class of torchmetrics downloads AlexNet by itself; this one can be made without
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    network = _NoTrainLpips(net="alex", pnet_rand=True)
    given = weights.tensors()
    # its slices keep the layers' numbers of torchvision: net.slice2.3.weight is features.3.weight
    wanted = {name: f"features.{name.split('.', 1)[1]}" for name in network.net.state_dict()}
    missing = [name for name in wanted.values() if name not in given]
    if missing:
        raise UserError(f"{weights.named} is not torchvision's AlexNet: it has no {missing[0]}")
    try:
        network.net.load_state_dict({name: given[source] for name, source in wanted.items()})
    except RuntimeError as error:
        raise UserError(
            f"{weights.named} is not torchvision's AlexNet: {' '.join(str(error).split())[:200]}"
        ) from error
    return Lpips(network, {"weights": weights.named, "sha256": weights.sha256}, device)
