"""Pipeline folders that are odd or hostile: each is to be loaded or refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from condistill import Teacher, UserError
from strangers.checks import tail
from strangers.variant import Found

WEIGHTS = "diffusion_pytorch_model.safetensors"


def _json(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def _index(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    return lambda folder: _json(folder / "model_index.json", change)


def _config(part: str, **changes: Any) -> Callable[[Path], None]:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    return lambda folder: _json(folder / part / name, lambda found: {**found, **changes})


def _without(*fields: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {k: v for k, v in found.items() if k not in fields}


def _pickled(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "unet" / WEIGHTS), folder / "unet" / "diffusion_pytorch_model.bin")
    (folder / "unet" / WEIGHTS).unlink()


def _cut(share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / "unet" / WEIGHTS).read_bytes()
        (folder / "unet" / WEIGHTS).write_bytes(data[: int(len(data) * share)])

    return change


def _linked(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).unlink()
    (folder / "unet" / WEIGHTS).symlink_to("gone.safetensors")


def _pointer(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (folder / "unet" / WEIGHTS).write_text(text)


def _renamed(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "unet" / WEIGHTS)
    save_file({f"model.{k}": v for k, v in tensors.items()}, folder / "unet" / WEIGHTS)


def _reshaped(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "unet" / WEIGHTS)
    name = next(iter(tensors))
    save_file({**tensors, name: torch.zeros(3, 3)}, folder / "unet" / WEIGHTS)


def _nan(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "unet" / WEIGHTS)
    save_file({k: torch.full_like(v, float("nan")) for k, v in tensors.items()}, folder / "unet" / WEIGHTS)


CHANGES: dict[str, Callable[[Path], None]] = {
    "as it was": lambda folder: None,
    "no model_index": lambda folder: (folder / "model_index.json").unlink(),
    "model_index a folder": lambda f: ((f / "model_index.json").unlink(), (f / "model_index.json").mkdir())[0],
    "model_index empty": lambda folder: (folder / "model_index.json").write_text("") and None,
    "model_index a list": lambda folder: (folder / "model_index.json").write_text("[]") and None,
    "model_index of nothing": _index(lambda found: {}),
    "model_index without a class": _index(_without("_class_name")),
    "class that is not there": _index(lambda found: {**found, "_class_name": "NoSuchPipeline"}),
    "class that is no pipeline": _index(lambda found: {**found, "_class_name": "UNet2DConditionModel"}),
    "class that is a number": _index(lambda found: {**found, "_class_name": 3}),
    "class of another pipeline": _index(lambda found: {**found, "_class_name": "StableDiffusionXLPipeline"}),
    "class of Flax": _index(lambda found: {**found, "_class_name": "FlaxStableDiffusionPipeline"}),
    "class of a custom file": _index(lambda found: {**found, "_class_name": ["pipeline", "Mine"]}),
    "unet of no class": _index(lambda found: {**found, "unet": ["diffusers", "NoSuchModel"]}),
    "unet of a library that is not there": _index(lambda found: {**found, "unet": ["nosuchlibrary", "Unet"]}),
    "unet of the system": _index(lambda found: {**found, "unet": ["os", "system"]}),
    "unet of the wrong class": _index(lambda found: {**found, "unet": ["diffusers", "AutoencoderKL"]}),
    "unet null": _index(lambda found: {**found, "unet": [None, None]}),
    "unet not listed": _index(_without("unet")),
    "scheduler null": _index(lambda found: {**found, "scheduler": [None, None]}),
    "tokenizer null": _index(lambda found: {**found, "tokenizer": [None, None]}),
    "text encoder null": _index(lambda found: {**found, "text_encoder": [None, None]}),
    "vae null": _index(lambda found: {**found, "vae": [None, None]}),
    "one part more": _index(lambda found: {**found, "extra": ["diffusers", "UNet2DConditionModel"]}),
    "unet folder gone": lambda folder: shutil.rmtree(folder / "unet"),
    "scheduler folder gone": lambda folder: shutil.rmtree(folder / "scheduler"),
    "vae folder gone": lambda folder: shutil.rmtree(folder / "vae"),
    "tokenizer folder gone": lambda folder: shutil.rmtree(folder / "tokenizer"),
    "text encoder folder gone": lambda folder: shutil.rmtree(folder / "text_encoder"),
    "unet config gone": lambda folder: (folder / "unet" / "config.json").unlink(),
    "unet weights gone": lambda folder: (folder / "unet" / WEIGHTS).unlink(),
    "pickle only": _pickled,
    "weights cut short": _cut(0.5),
    "weights cut to the header": _cut(0.001),
    "weights empty": _cut(0.0),
    "weights a dead link": _linked,
    "weights a pointer of git": _pointer,
    "weights of other names": _renamed,
    "weights of other shapes": _reshaped,
    "weights not a number": _nan,
    "vocabulary gone": lambda folder: [p.unlink() for p in (folder / "tokenizer").glob("*.json")] and None,
    "unet of other channels": _config("unet", in_channels=5),
    "unet of another text width": _config("unet", cross_attention_dim=24),
    "unet of a block that is not there": _config("unet", down_block_types=["NoBlock"] * 4),
    "unet of more groups than channels": _config("unet", norm_num_groups=7),
    "scheduler of negative betas": _config("scheduler", beta_start=-1.0, beta_end=2.0),
    "scheduler of no times": _config("scheduler", num_train_timesteps=0),
    "scheduler of unknown betas": _config("scheduler", beta_schedule="none"),
    "scheduler of unknown prediction": _config("scheduler", prediction_type="score"),
}


def tried_folder(name: str, good: Path, folder: Path) -> Found:
    """What became of the good folder, changed."""
    place = folder / "pipeline"
    shutil.copytree(good, place)
    CHANGES[name](place)
    found = Found(stage="load")
    try:
        teacher = Teacher.load(place)
        found.stage = "use"
        teacher.sample(["a red fox"], seed=0, call={"num_inference_steps": 2, "height": 16, "width": 16})
        teacher.student("b-base")
    except UserError as error:
        found.outcome, found.said = ("crashed" if "\n" in str(error) else "refused"), str(error)
    except Exception as error:
        found.outcome, found.said = "crashed", tail(error)
    return found
