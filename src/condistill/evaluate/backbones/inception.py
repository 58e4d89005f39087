"""The Inception network of the FID, from torch-fidelity, with the input that each published number was made with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from condistill.errors import UserError, brief
from condistill.evaluate.backbones.weights import Weights
from condistill.maths.randomise import Key


class Inception:
    """Pool features (2048) as pytorch-fid takes them, logits without bias (1008) as torch-fidelity's score takes them.

    Network and weights are the same; the two libraries differ in how they bring an image to 299 x 299 and to [-1, 1],
    so each feature has a pass of its own, and only if a metric wants it.
    """

    name = "inception"

    def __init__(self, extractor: nn.Module, identity: dict[str, Any], device: torch.device):
        self.identity, self._device = identity, device
        self._extractor = extractor.to(device).eval()
        layers = [layer for name, layer in extractor.named_children() if name != "fc"]
        self._pool = nn.Sequential(*layers)  # the layers run in the order of their definition, without anything between

    @torch.no_grad()
    def features(
        self, images: UInt8[np.ndarray, "n h w 3"], keys: Sequence[Key] | None, wanted: frozenset[str]
    ) -> dict[str, np.ndarray]:
        """ "inception" (n, 2048) and "inception_logits" (n, 1008), float32."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(self._device)  # (n, 3, h, w)
        found: dict[str, np.ndarray] = {}
        if "inception" in wanted:
            found["inception"] = self._pool(as_pytorch_fid(pixels)).flatten(1).float().cpu().numpy()
        if "inception_logits" in wanted:
            found["inception_logits"] = self._extractor(pixels)[0].float().cpu().numpy()
        return found


def as_pytorch_fid(pixels: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 299 299"]:
    """The input of pytorch-fid: bilinear to 299 x 299 without aligned corners, then to [-1, 1]."""
    scaled = nn.functional.interpolate(pixels.float() / 255, size=(299, 299), mode="bilinear", align_corners=False)
    return 2 * scaled - 1


def load(weights: Weights, device: torch.device) -> Inception:
    """The network with these weights.

    Raises:
        UserError: the weights are of another network.
    """
    from torch_fidelity import feature_extractor_inceptionv3  # pyright: ignore[reportMissingImports]  extra "metrics"

    # the class unpickles a file of its own choice unless it is given one: give it ours, re-written from plain tensors
    plain = io.BytesIO()
    torch.save(weights.tensors(), plain)
    plain.seek(0)
    try:
        extractor = feature_extractor_inceptionv3.FeatureExtractorInceptionV3(
            "inception", ["logits_unbiased"], feature_extractor_weights_path=plain
        )
    except RuntimeError as error:
        reason = brief(error)
        raise UserError(f"{weights.named} is not the FID network: {reason}") from error
    identity = {
        "weights": weights.named,
        "sha256": weights.sha256,
        "input": "299: bilinear as pytorch-fid (features), bilinear as TensorFlow 1 (logits of the score)",
    }
    return Inception(extractor, identity, device)
