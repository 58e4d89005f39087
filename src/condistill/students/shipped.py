"""Configs: those that ship with us, and those of a folder."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from condistill.errors import UserError, nearest
from condistill.teacher.loading import refuse_run

FOLDER = Path(__file__).parent / "configs"
KINDS = ("Model", "UNet", "Prior", "DiffNeXt")  # endings of diffusers' networks
COMPONENTS = ("unet", "transformer", "prior", "decoder")


def shipped_configs() -> list[str]:
    """The names of the configs that ship with us."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def config_of_hub_id(name: str) -> str | None:
    """The shipped config of the denoiser in that hub repository; None where none of ours is.

    >>> config_of_hub_id("CompVis/stable-diffusion-v1-4")
    'sd-v1-4'
    """
    for path in sorted(FOLDER.glob("*.json")):
        if name in json.loads(path.read_text(encoding="utf-8")).get("_hub_ids", ()):
            return path.stem
    return None


def load_config(where: str | Path) -> tuple[type, dict[str, Any]]:
    """(class, config) of a denoiser; no weights are read.

    Args:
        where: a shipped name ("sd-v1-4"), a pipeline folder, a component's folder, or a config.json.

    Raises:
        UserError: nothing there, or no config of a diffusers network.

    >>> load_config("sd-v1-4")[1]["block_out_channels"]
    [320, 640, 1280, 1280]
    """
    path = _config_file(where)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a JSON config: {str(error).splitlines()[0]}") from error
    name = config.get("_class_name") if isinstance(config, dict) else None
    if not isinstance(name, str):
        raise UserError(f"{path} names no class (_class_name); the config.json of a diffusers network is wanted")
    return network_class(name), {key: value for key, value in config.items() if not key.startswith("_")}


def network_class(name: str) -> type:
    """The diffusers class of that name.

    Raises:
        UserError: diffusers has none, or it is no network.
    """
    home = "diffusers.models.unets.unet_2d_condition" if name == "UNet2DConditionModel" else "diffusers"
    cls = getattr(importlib.import_module(home), name, None)
    if cls is None or not hasattr(cls, "from_config") or not hasattr(cls, "state_dict"):
        guess = nearest(name, [one for one in dir(importlib.import_module("diffusers")) if one.endswith(KINDS)])
        hint = f"did you mean {guess!r}? " if guess else ""
        raise UserError(f"diffusers has no network class {name!r}; {hint}update diffusers, or check the config")
    return cls


def _config_file(where: str | Path) -> Path:
    path = Path(where).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        for folder in (path, *(path / name for name in COMPONENTS)):
            if (folder / "config.json").is_file():
                return folder / "config.json"
        refuse_run(path)
        raise UserError(f"{path} has no config.json, nor has its {', '.join(COMPONENTS)}; a network's folder is wanted")
    if str(where) in shipped_configs():
        return FOLDER / f"{where}.json"
    guess = nearest(str(where), shipped_configs())
    hint = f"did you mean {guess!r}? " if guess else ""
    raise UserError(f"no such folder or config: {where}; {hint}give a folder or one of: {', '.join(shipped_configs())}")
