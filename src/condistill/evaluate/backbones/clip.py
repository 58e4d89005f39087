"""CLIP: images and prompts in one space. Either OpenCLIP's or transformers' layout of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from condistill.errors import UserError, brief
from condistill.evaluate.backbones.weights import Weights
from condistill.evaluate.pictures import prepared
from condistill.maths.randomise import Key

OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's own
Encode = Callable[[Any], Tensor]


class Clip:
    """Embeddings of length 1: "clip" of the images, "clip_text" of their prompts."""

    name = "clip"

    def __init__(
        self,
        of_images: Encode,
        of_texts: Encode,
        *,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        identity: dict[str, Any],
    ):
        self._of_images, self._of_texts = of_images, of_texts
        self._size, self._mean, self._std = size, tuple(mean), tuple(std)
        self.identity = {**identity, "input": f"{size}: bicubic, middle square", "mean": list(mean), "std": list(std)}

    @torch.no_grad()
    def features(
        self, images: UInt8[np.ndarray, "n h w 3"], keys: Sequence[Key] | None, wanted: frozenset[str]
    ) -> dict[str, np.ndarray]:
        """ "clip" and "clip_text", (n, d) float32 each, of length 1."""
        found: dict[str, np.ndarray] = {}
        if "clip" in wanted:
            found["clip"] = _unit(self._of_images(prepared(images, self._size, self._mean, self._std)))
        if "clip_text" in wanted and keys is not None:
            found["clip_text"] = _unit(self._of_texts([text_of(key) for key in keys]))
        return found


def _unit(embedding: Float[Tensor, "n d"]) -> Float[np.ndarray, "n d"]:
    embedding = embedding.float()
    return (embedding / embedding.norm(dim=-1, keepdim=True)).cpu().numpy()


def text_of(key: Key) -> str:
    """The words of a key: the prompt itself, or the one in a mapping of call arguments.

    Raises:
        UserError: it has none.
    """
    words = key.get("prompt") if isinstance(key, dict) else key
    if not isinstance(words, str):
        raise UserError(f"clip_score compares images with prompts, got the condition {key!r}; leave the metric out")
    return words


def load(weights: Weights, device: torch.device) -> Clip:
    """The network in these weights' folder; OpenCLIP's layout comes first where there are both.

    Raises:
        UserError: neither layout, or a part of it is missing.
    """
    try:
        if weights.has("open_clip_config.json"):
            return _open_clip(weights, device)
        if weights.has("config.json"):
            return _transformers(weights, device)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        reason = brief(error)
        raise UserError(f"{weights.named} could not be loaded as CLIP ({reason})") from error
    raise UserError(f"{weights.folder} has neither open_clip_config.json nor config.json; a CLIP folder is wanted")


def _open_clip(weights: Weights, device: torch.device) -> Clip:
    import open_clip  # pyright: ignore[reportMissingImports]  of the extra "metrics"

    # the folder of the hub has transformers' copy of the same weights beside it
    files = [file for file in weights.files if file.name.startswith("open_clip")] or list(weights.files)
    if len(files) != 1:
        raise UserError(
            f"{weights.folder} has several weights ({', '.join(f.name for f in files)}); name the file itself"
        )
    weights = Weights(weights.folder, (files[0],), weights.named)
    place = f"local-dir:{weights.folder}"
    model = open_clip.create_model(place, load_weights=False, pretrained_image=False, pretrained_text=False)
    open_clip.load_checkpoint(model, str(files[0]), weights_only=True)
    model, tokenizer = model.to(device).eval(), open_clip.get_tokenizer(place)
    seen = open_clip.get_model_preprocess_cfg(model)
    size = seen["size"] if isinstance(seen["size"], int) else seen["size"][0]
    return Clip(
        lambda pixels: model.encode_image(pixels.to(device)),
        lambda texts: model.encode_text(tokenizer(texts).to(device)),
        size=size, mean=seen["mean"], std=seen["std"], identity=_identity(weights, "open_clip"),
    )  # fmt: skip


def _transformers(weights: Weights, device: torch.device) -> Clip:
    from transformers import AutoTokenizer, CLIPModel

    model: Any = CLIPModel.from_pretrained(str(weights.folder), use_safetensors=True)
    model = model.to(device).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(str(weights.folder))
    length = model.config.text_config.max_position_embeddings

    def of_texts(texts: list[str]) -> Tensor:
        ids = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        # the projected embedding is the pooled output, as the class documents it
        return model.get_text_features(**ids.to(device)).pooler_output

    mean, std = _seen_by(weights)
    return Clip(
        lambda pixels: model.get_image_features(pixel_values=pixels.to(device)).pooler_output, of_texts,
        size=model.config.vision_config.image_size, mean=mean, std=std, identity=_identity(weights, "transformers"),
    )  # fmt: skip


def _seen_by(weights: Weights) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of the folder's image processor; CLIP's own where it has none."""
    if not weights.has("preprocessor_config.json"):
        return OPENAI_MEAN, OPENAI_STD
    config = json.loads((weights.folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    return config.get("image_mean", OPENAI_MEAN), config.get("image_std", OPENAI_STD)


def _identity(weights: Weights, library: str) -> dict[str, Any]:
    return {"weights": weights.named, "sha256": weights.sha256, "library": library}
