"""DINOv2: features of a network that was trained without labels, for Frechet distances that see more than objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from condistill.errors import UserError, brief
from condistill.evaluate.backbones.weights import Weights
from condistill.evaluate.pictures import prepared
from condistill.maths.randomise import Key

SIZE = 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Dino:
    """The class token after the last layer norm, "dino" (n, d).

    Source: Stein et al., "Exposing flaws of generative model evaluation metrics" (2023): DINOv2 at 224 x 224.
    """

    name = "dino"

    def __init__(self, network: nn.Module, identity: dict[str, Any], device: torch.device):
        self._network, self._device = network.to(device).eval(), device
        self.identity = {**identity, "input": f"{SIZE}: bicubic, middle square", "library": "transformers"}

    @torch.no_grad()
    def features(
        self, images: UInt8[np.ndarray, "n h w 3"], keys: Sequence[Key] | None, wanted: frozenset[str]
    ) -> dict[str, np.ndarray]:
        """ "dino" (n, d), float32."""
        pixels = prepared(images, SIZE, IMAGENET_MEAN, IMAGENET_STD).to(self._device)
        return {"dino": self._network(pixel_values=pixels).pooler_output.float().cpu().numpy()}


def load(weights: Weights, device: torch.device) -> Dino:
    """The network in these weights' folder.

    Raises:
        UserError: it is no DINOv2 of transformers.
    """
    from transformers import AutoModel

    try:
        network = AutoModel.from_pretrained(str(weights.folder), use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = brief(error)
        raise UserError(f"{weights.named} could not be loaded as DINOv2 ({reason})") from error
    return Dino(network, {"weights": weights.named, "sha256": weights.sha256}, device)
