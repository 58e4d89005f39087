"""Backbones with random weights, as files: the real classes, as small as they can be made."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

from tests.tiny.pipelines import tokenizer


def clip(folder: Path) -> Path:
    """A CLIPModel of transformers with its tokenizer."""
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = tokenizer()
    text = {**vision, "vocab_size": len(words), "eos_token_id": words.eos_token_id, "max_position_embeddings": 16}
    config = CLIPConfig(text_config=text, vision_config={**vision, "image_size": 16, "patch_size": 8}, projection_dim=8)
    with seeded():
        CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def dino(folder: Path) -> Path:
    """A Dinov2Model of transformers."""
    config = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    with seeded():
        Dinov2Model(config).save_pretrained(folder)
    return folder


def open_clip_folder(folder: Path, library: Any) -> Path:
    """A model of OpenCLIP in the layout of its hub."""
    folder.mkdir()
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    mean_std = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": mean_std})
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")
    with seeded():
        model = library.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def inception_tensors(module: Any) -> dict[str, torch.Tensor]:
    """Weights for torch-fidelity's network that keep the size of what goes through it."""

    class Shapes(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, state: Any) -> None:
            """Nothing: only the shapes are wanted."""

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    shapes = Shapes("shapes", ["2048"], feature_extractor_weights_path=nothing).state_dict()
    with seeded():
        return {name: _drawn(name, value) for name, value in shapes.items()}


def _drawn(name: str, like: torch.Tensor) -> torch.Tensor:
    if like.ndim > 1:
        return torch.randn(like.shape) * (2 / like[0].numel()) ** 0.5
    if name.endswith(("running_var", "bn.weight")):
        return torch.rand(like.shape) + 0.5
    return like if like.ndim == 0 else torch.randn(like.shape) * 0.1


def alexnet_tensors(module: Any) -> dict[str, torch.Tensor]:
    """Random weights of torchvision's AlexNet, the convolutions alone."""
    with seeded():
        state = module.alexnet(weights=None).state_dict()
    return {name: value for name, value in state.items() if name.startswith("features.")}


class seeded:
    """The same random weights every time, and the global generator as it was."""

    def __enter__(self) -> None:
        self._fork = torch.random.fork_rng(devices=[])
        self._fork.__enter__()
        torch.manual_seed(0)

    def __exit__(self, *raised: Any) -> None:
        self._fork.__exit__(*raised)
