"""The judge of the emoji world: which concept and which colour an image shows, and features for distances.

A small classifier trained on true renders and on messes that show nothing ("none of these"). Students never see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from condistill.callable_package import make_callable
from condistill.errors import UserError
from condistill.files import load_tensors, sha256
from condistill.world.emoji.concepts import COLOURS, CONCEPTS

NOTHING = -1  # the concept of an image that shows none
NUM_FEATURES = 96
SIZE = 64
WEIGHTS = "judge.safetensors"


@dataclass(frozen=True)
class Judgement:
    """What n images show.

    concept and colour are (n,) indices into CONCEPTS and COLOURS, concept NOTHING for a mess; concept_probability (n,)
    is the share the judge gives to that concept (or to "none"); features are (n, d).
    """

    concept: Int[np.ndarray, " n"]
    colour: Int[np.ndarray, " n"]
    concept_probability: Float[np.ndarray, " n"]
    features: Float[np.ndarray, "n d"]


class JudgeNetwork(nn.Module):
    """A convolutional classifier; its last concept class is "none of these"."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        stages = []
        for index in range(len(widths) - 1):
            stages += [
                nn.Conv2d(widths[index], widths[index + 1], 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(widths[index + 1]),
                nn.ReLU(),
            ]
        stages += [nn.Conv2d(128, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU()]
        self.body = nn.Sequential(*stages)
        self.features = nn.Linear(128 * 4 * 4, NUM_FEATURES)
        self.concept = nn.Linear(NUM_FEATURES, len(CONCEPTS) + 1)
        self.colour = nn.Linear(NUM_FEATURES, len(COLOURS))

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of concept (n, concepts + 1) and colour (n, colours), and features (n, d), for x in [-1, 1]."""
        features = self.features(self.body(x).flatten(1))
        hidden = functional.relu(features)
        return self.concept(hidden), self.colour(hidden), features


class Judge:
    """Callable on images; `hash` is the sha256 of its weights."""

    def __init__(self, network: JudgeNetwork, *, weights_hash: str = "") -> None:
        self.network, self.hash = network.eval().requires_grad_(False), weights_hash

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """The judge whose weights are in `folder`."""
        tensors, _ = load_tensors(folder / WEIGHTS)
        network = JudgeNetwork()
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        return cls(network, weights_hash=sha256(folder / WEIGHTS))

    @torch.no_grad()
    def __call__(
        self, images: Float[np.ndarray, "n h w 3"] | Float[Tensor, "n h w 3"], *, batch: int = 256
    ) -> Judgement:
        """What the images show.

        Args:
            images: in [0, 1], of any size; they are brought to the judge's own.

        Raises:
            UserError: not a batch of RGB images.
        """
        x = torch.as_tensor(np.asarray(images) if not isinstance(images, Tensor) else images).float().cpu()
        if x.ndim != 4 or x.shape[-1] != 3:
            raise UserError(f"the judge wants images of shape (n, h, w, 3) in [0, 1], got {tuple(x.shape)}")
        x = x.permute(0, 3, 1, 2).clamp(0, 1) * 2 - 1
        if x.shape[-2:] != (SIZE, SIZE):
            x = functional.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
        found = [self.network(part) for part in x.split(batch)]
        if not found:
            nothing = np.zeros(0, dtype=np.int64)
            return Judgement(nothing, nothing, np.zeros(0, np.float32), np.zeros((0, NUM_FEATURES), np.float32))
        concept, colour, features = (torch.cat(parts) for parts in zip(*found, strict=True))
        probability, index = concept.softmax(dim=1).max(dim=1)
        index = torch.where(index == len(CONCEPTS), NOTHING, index)
        return Judgement(index.numpy(), colour.argmax(dim=1).numpy(), probability.numpy(), features.numpy())


def shipped() -> Judge:
    """The judge that ships with the package."""
    return Judge.load(Path(__file__).parent / "weights" / "judge")


# importing this module puts it in the place of the function `emoji.judge`; so it is called like it
make_callable(__name__, f"{__name__}:shipped")
