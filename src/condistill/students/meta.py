"""Networks on the meta device: shapes without memory, and one pass through them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from condistill.errors import UserError, brief


def clean(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without diffusers' own entries (class, version, path)."""
    return {name: value for name, value in dict(config).items() if not name.startswith("_")}


def on_meta(cls: type, config: Mapping[str, Any]) -> nn.Module:
    """The network on the meta device, in evaluation mode.

    Raises:
        UserError: the class does not accept the config.
    """
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # some buffers are made through numpy, whatever the device
            return cls.from_config(clean(config)).to("meta").eval()  # type: ignore[attr-defined]
    except Exception as error:  # whatever a class raises on a config that it was not made for
        reason = brief(error)
        raise UserError(f"{cls.__name__} cannot be built from this config: {reason}") from error


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape, parameters and saved buffers."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def unet_inputs(config: Mapping[str, Any], latent: Sequence[int] | None = None, tokens: int = 77) -> dict[str, Any]:
    """Arguments for one pass of a UNet2DConditionModel at batch 1, on the meta device.

    Args:
        config: of the network.
        latent: (height, width) in latent pixels; the config's sample size if None.
        tokens: length of the text.
    """
    size = latent or config.get("sample_size") or 64
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    cross = config["cross_attention_dim"]
    text = config.get("encoder_hid_dim") or (cross if isinstance(cross, int) else cross[0])
    wanted: dict[str, Any] = {
        "sample": _zeros(1, config["in_channels"], height, width),
        "timestep": _zeros(1),
        "encoder_hidden_states": _zeros(1, tokens, text),
    }
    labels = _labels(config)
    if labels is not None:
        wanted["class_labels"] = labels
    added = _added(config, text)
    return {**wanted, "added_cond_kwargs": added} if added else wanted


def _added(config: Mapping[str, Any], text: int) -> dict[str, Tensor]:
    kind, projected = config.get("addition_embed_type"), config.get("encoder_hid_dim_type")
    if kind == "text_time":
        pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
        return {"text_embeds": _zeros(1, pooled), "time_ids": _zeros(1, 6)}
    if kind == "text_image" or projected == "text_image_proj":
        return {"text_embeds": _zeros(1, text), "image_embeds": _zeros(1, config["cross_attention_dim"])}
    if kind == "image" or projected == "image_proj":
        return {"image_embeds": _zeros(1, text)}
    return {}


def _labels(config: Mapping[str, Any]) -> Tensor | None:
    kind = config.get("class_embed_type")
    if kind in ("projection", "simple_projection"):
        return _zeros(1, config["projection_class_embeddings_input_dim"])
    if kind == "identity":
        return _zeros(1, 4 * config["block_out_channels"][0])
    if kind is not None or config.get("num_class_embeds"):
        return torch.zeros(1, dtype=torch.long, device="meta")
    return None


def dit_inputs(config: Mapping[str, Any], latent: Sequence[int] | None = None, tokens: int = 77) -> dict[str, Any]:
    """Arguments for one pass of a DiTTransformer2DModel at batch 1, on the meta device."""
    height, width = latent or (config["sample_size"],) * 2
    labels = torch.zeros(1, dtype=torch.long, device="meta")
    return {
        "hidden_states": _zeros(1, config["in_channels"], height, width),
        "timestep": labels,
        "class_labels": labels,
    }


Inputs = Callable[[Mapping[str, Any], Sequence[int] | None, int], dict[str, Any]]
# classes whose arguments are known exactly; those of others are found by asking: likely.py
INPUTS: dict[str, Inputs] = {"UNet2DConditionModel": unet_inputs, "DiTTransformer2DModel": dit_inputs}


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, device="meta")
