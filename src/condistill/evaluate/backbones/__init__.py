"""Backbones: the networks that turn images into the features that metrics compare. One file each.

Their weights are the user's to name: a file, a folder or a hub id. Nothing is downloaded that was not named by its id.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8

from condistill.errors import UserError, unknown_name
from condistill.evaluate.backbones.weights import Weights, find
from condistill.maths.randomise import Key

# name -> which file it wants, as messages and --help say it
WANTED = {
    "inception": "the FID network of pytorch-fid and torch-fidelity, pt_inception-2015-12-05-6726825d.pth, or the same "
    "tensors as safetensors",
    "clip": "a CLIP folder: open_clip_config.json with open_clip_model.safetensors and a tokenizer (the protocol "
    "coco30k: OpenCLIP ViT-g-14, laion2b_s34b_b88k), or a transformers CLIPModel with its tokenizer",
    "dino": "a DINOv2 folder of transformers: config.json and model.safetensors",
    "lpips": "AlexNet of torchvision, alexnet-owt-7be5be79.pth, or the same tensors as safetensors",
}


class Backbone(Protocol):
    """A network that takes features of images.

    `name` is its key in WANTED; `identity` says what decides the numbers (weights' SHA-256, input size, library), as
    JSON types. Features go by names that metrics ask for ("inception", "inception_logits", "clip", "clip_text", ...).
    One that compares items with each other also has `finished(features)`, called with those of all n items of a group.
    """

    name: str
    identity: Mapping[str, Any]

    def features(
        self, images: UInt8[np.ndarray, "n h w 3"], keys: Sequence[Key] | None, wanted: frozenset[str]
    ) -> dict[str, np.ndarray]:
        """Name -> (n, d) of the wanted features of this backbone; keys are None for reference images."""
        ...


def backbone_of(feature: str) -> str:
    """The backbone that gives a feature.

    >>> backbone_of("inception_logits")
    'inception'
    """
    return feature.partition("_")[0]


def load_all(features: Iterable[str], places: Mapping[str, str | Path], device: torch.device) -> tuple[Backbone, ...]:
    """The backbones that give these features, in the order of WANTED.

    Args:
        features: what the metrics ask for.
        places: backbone -> file, folder or hub id.
        device: where they run.

    Raises:
        UserError: an unknown backbone, one whose weights were not named, or weights that do not fit; a library of the
            extra "metrics" is missing.
    """
    for name in places:
        if name not in WANTED:
            raise unknown_name("backbone", name, WANTED)
    needed = {backbone_of(feature) for feature in features}
    for name in sorted(needed - places.keys()):
        raise missing(name)
    return tuple(_loaded(name, find(places[name], WANTED[name]), device) for name in WANTED if name in needed)


def missing(name: str) -> UserError:
    """The error for a backbone whose weights were not named: which file goes where."""
    return UserError(
        f"no weights for the backbone {name!r}; give --backbone {name}=PATH (in a recipe evaluate.backbones.{name}, in "
        f"Python backbones={{...}}), where PATH is {WANTED[name]}"
    )


def _loaded(name: str, weights: Weights, device: torch.device) -> Backbone:
    from condistill.torchvision_ops import define_missing_ops

    define_missing_ops()  # before a library imports torchvision
    try:
        return importlib.import_module(f"{__name__}.{name}").load(weights, device)
    except ModuleNotFoundError as error:
        raise UserError(f"the backbone {name!r} needs {error.name}; pip install 'condistill[metrics]'") from error


def looked_at(
    backbones: Iterable[Backbone],
    images: UInt8[np.ndarray, "n h w 3"],
    keys: Sequence[Key] | None,
    wanted: frozenset[str],
) -> dict[str, np.ndarray]:
    """The wanted features of all backbones, of images and their keys."""
    found: dict[str, np.ndarray] = {}
    for backbone in backbones:
        found |= backbone.features(images, keys, wanted)
    return found


def finished(backbones: Iterable[Backbone], features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The features of all items of a group, after what compares items with each other has done so."""
    for backbone in backbones:
        compare = getattr(backbone, "finished", None)
        features = features if compare is None else {**features, **compare(features)}
    return features
