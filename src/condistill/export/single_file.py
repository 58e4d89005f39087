"""One safetensors file in the layout of the original Stable Diffusion checkpoints, which other interfaces read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from condistill.errors import UserError, brief
from condistill.files import load_tensors, save_tensors

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_WORDS = {
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
    "mid_block.attentions.0.to_q": "mid.attn_1.q",
    "mid_block.attentions.0.to_k": "mid.attn_1.k",
    "mid_block.attentions.0.to_v": "mid.attn_1.v",
    "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
}
_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
UNET, VAE = "model.diffusion_model.", "first_stage_model."
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")  # of SD 2, of SDXL


def export_file(pipeline: str | Path, out: str | Path) -> dict[str, Any]:
    """What was written, read back by diffusers and compared tensor by tensor.

    Raises:
        UserError: the pipeline has no such layout, the file is there, or diffusers does not read it back alike.
    """
    from condistill.teacher.loading import load_pipeline, resolve

    file = Path(out)
    if file.suffix != ".safetensors" or file.exists():
        raise UserError(f"{file} must be the name of a new .safetensors file; choose another --out")
    loaded = load_pipeline(pipeline, device="cpu")
    tensors = original_layout(loaded)
    save_tensors(file, tensors, {"format": "pt"})
    num = _compared(loaded, file, str(resolve(pipeline)))
    size = file.stat().st_size
    left_out = [name for name, part in loaded.components.items() if isinstance(part, nn.Module) and name not in _PARTS]
    return {
        "format": "single-file", "file": str(file), "bytes": size, "tensors": num, "left_out": left_out,
        "mid_block": getattr(loaded.unet, "mid_block", None) is not None,
    }  # fmt: skip


def lines(found: Mapping[str, Any]) -> list[str]:
    """What was written, for people."""
    size = f"{found['bytes'] / 2**20:.1f} MiB, {found['tensors']} tensors"
    head = f"{found['file']}: {size}, read back by diffusers, all equal"
    notes = (
        []
        if found["mid_block"]
        else ["note: no mid block; diffusers reads the file with the student's folder as config="]
    )
    return [head, *notes, *(f"note: {name} is left out" for name in found["left_out"])]


_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


def original_layout(pipeline: Any) -> dict[str, Tensor]:
    """The tensors of U-Net, VAE and text encoders under their names in the original layout.

    Raises:
        UserError: a tensor that has none there.
    """
    parts = {name: part for name, part in pipeline.components.items() if name in _PARTS and part is not None}
    for name in ("unet", "vae", "text_encoder"):
        if name not in parts:
            raise UserError(
                f"{type(pipeline).__name__} has no {name}; the original layout is that of Stable Diffusion's U-Nets; "
                "choose --to onnx or openvino"
            )
    found: dict[str, Tensor] = {}
    is_xl = "text_encoder_2" in parts
    found.update(_named("unet", parts["unet"], _unet_name(parts["unet"])))
    found.update(_named("vae", parts["vae"], _vae_name(parts["vae"])))
    for name in ("text_encoder", "text_encoder_2"):
        if name in parts:
            found.update(_text(name, parts[name], is_xl=is_xl))
    return found


def _named(part: str, module: nn.Module, name_of: Any) -> Iterator[tuple[str, Tensor]]:
    for key, tensor in module.state_dict().items():
        name = name_of(key)
        if name is None:
            raise UserError(
                f"{part}.{key} has no name in the original layout of Stable Diffusion ({type(module).__name__}); "
                "choose --to onnx or openvino"
            )
        # attention in the VAE is made of linear layers here and of 1 x 1 convolutions there
        is_attention = part == "vae" and ".attn_1." in name and tensor.ndim == 2
        yield name, tensor[:, :, None, None] if is_attention else tensor


def _unet_name(unet: Any) -> Any:
    layers = unet.config.layers_per_block
    if not isinstance(layers, int):
        raise UserError(
            f"this U-Net has {layers} layers per block, and the original layout one number for all; choose --to onnx "
            "or openvino"
        )
    block = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
    middle = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")

    def name_of(key: str) -> str | None:
        stem, _, leaf = key.rpartition(".")
        if stem in _UNET_ENDS:
            return f"{UNET}{_UNET_ENDS[stem]}.{leaf}"
        if found := middle.fullmatch(key):
            kind, number, rest = found.groups()
            place = 2 * int(number) + (kind == "attentions")
            inner = _resnet(rest) if kind == "resnets" else rest
            return None if inner is None else f"{UNET}middle_block.{place}.{inner}"
        if found := block.fullmatch(key):
            return _in_block(*found.groups(), layers=layers, unet=unet)
        return None

    return name_of


def _in_block(way: str, i: str, kind: str, j: str, rest: str, *, layers: int, unet: Any) -> str | None:
    """The name of a tensor in a down or up block; there every layer is a numbered block of its own."""
    stage, layer = int(i), int(j)
    if way == "down":
        place = 1 + stage * (layers + 1) + (layers if kind == "downsamplers" else layer)
        root = f"{UNET}input_blocks.{place}"
    else:
        root = f"{UNET}output_blocks.{stage * (layers + 1) + (layers if kind == 'upsamplers' else layer)}"
    if kind == "resnets":
        inner = _resnet(rest)
        return None if inner is None else f"{root}.0.{inner}"
    if kind == "attentions":
        return f"{root}.1.{rest}"
    if kind == "downsamplers":
        return f"{root}.0.op.{rest.removeprefix('conv.')}"
    has_attention = getattr(unet.up_blocks[stage], "attentions", None) is not None
    return f"{root}.{2 if has_attention else 1}.{rest}"


def _resnet(rest: str) -> str | None:
    stem, _, leaf = rest.rpartition(".")
    return f"{_RESNET[stem]}.{leaf}" if stem in _RESNET else None


def _vae_name(vae: Any) -> Any:
    num = len(vae.decoder.up_blocks) if hasattr(getattr(vae, "decoder", None), "up_blocks") else 0

    def name_of(key: str) -> str | None:
        if not num:
            return None
        for ours, theirs in _VAE_WORDS.items():
            key = key.replace(ours, theirs)
        key = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", key)
        key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
        # counted from the other end
        key = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{num - 1 - int(m[1])}.block.{m[2]}", key)
        key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{num - 1 - int(m[1])}.upsample", key)
        return None if "_blocks." in key or "mid_block" in key else VAE + key

    return name_of


def _text(part: str, module: nn.Module, *, is_xl: bool) -> Iterator[tuple[str, Tensor]]:
    state = {key.removeprefix("text_model."): tensor for key, tensor in module.state_dict().items()}
    if not _is_open_clip(part, module):
        root = "conditioner.embedders.0.transformer." if is_xl else "cond_stage_model.transformer."
        yield from ((f"{root}text_model.{key}", tensor) for key, tensor in state.items())
        return
    yield from ((OPEN_CLIP[is_xl] + name, tensor) for name, tensor in _open_clip(state))


def _is_open_clip(part: str, module: Any) -> bool:
    """OpenAI's encoder has quick_gelu and stands there as transformers has it; OpenCLIP's has its own layout."""
    return part == "text_encoder_2" or module.config.hidden_act != "quick_gelu"


def _open_clip(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    layer = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
    for key, tensor in state.items():
        found = layer.fullmatch(key)
        if key in _OPEN_CLIP_ENDS:
            yield _OPEN_CLIP_ENDS[key], tensor
        elif key == "text_projection.weight":
            yield "text_projection", tensor.T
        elif found and found[2] in _OPEN_CLIP_LAYER:
            yield f"transformer.resblocks.{found[1]}.{_OPEN_CLIP_LAYER[found[2]]}.{found[3]}", tensor
        elif found and found[2] == "self_attn.q_proj":
            # query, key and value are one tensor there
            three = [state[f"encoder.layers.{found[1]}.self_attn.{name}_proj.{found[3]}"] for name in "qkv"]
            yield f"transformer.resblocks.{found[1]}.attn.in_proj_{found[3]}", torch.cat(three)
        elif not (found and found[2] in ("self_attn.k_proj", "self_attn.v_proj")) and key != "embeddings.position_ids":
            raise UserError(f"text encoder's {key} has no name in OpenCLIP's layout; choose --to onnx or openvino")


def _compared(pipeline: Any, file: Path, config: str) -> int:
    """The number of tensors that diffusers reads back from the file; all are equal.

    Raises:
        UserError: one is not, or the file is not read.
    """
    try:
        again = type(pipeline).from_single_file(str(file), config=config, local_files_only=Path(config).is_dir())
    except (ValueError, OSError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        said = brief(error)
        raise UserError(f"{file} was written, but diffusers does not read it back ({said}); do not use it") from error
    num = 0
    for name, part in pipeline.components.items():
        if name not in _PARTS or part is None:
            continue
        is_open_clip = name.startswith("text_encoder") and _is_open_clip(name, part)
        other = _open_clip_again(part, file) if is_open_clip else again.components[name].state_dict()
        for key, tensor in part.state_dict().items():
            key = key.removeprefix("text_model.") if is_open_clip else key
            if key not in other or not torch.equal(other[key].to(tensor.dtype), tensor):
                raise UserError(f"{file} was written, but {name}.{key} is read back otherwise; do not use it")
            num += 1
    return num


def _open_clip_again(part: nn.Module, file: Path) -> dict[str, Tensor]:
    """The encoder's tensors by diffusers' own converter, which from_single_file calls where it knows the encoder by its
    published size only."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    tensors, _ = load_tensors(file)
    root = next(root for root in OPEN_CLIP if any(key.startswith(root) for key in tensors))
    found = convert_open_clip_checkpoint(part, tensors, prefix=root)
    return {key.removeprefix("text_model."): tensor for key, tensor in found.items()}
