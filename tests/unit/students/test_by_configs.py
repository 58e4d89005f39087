"""Pipelines recorded by their configs alone, against the same pipelines recorded with their weights."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
import torch

from condistill import Teacher
from condistill.errors import UserError
from condistill.students import count_macs, inspect, make_plan
from condistill.students.by_configs import recorded_by_configs, shapes_of
from condistill.students.likely import inputs_of
from condistill.students.meta import clean, on_meta
from tests.tiny.case import PROMPTS
from tests.tiny.catalogue import catalogue
from tests.unit.cli.conftest import Cli
from tests.unit.cli.conftest import cli as cli
from tests.unit.students.networks import NETWORKS

CASES = catalogue()
# class labels, two text encoders, a video, a sound, a U-Net with an encoder of pictures and a mask
NOT_ASKED = ("HunyuanDiT2DModel", "I2VGenXLUNet", "StableCascadeUNet", "Kandinsky3UNet")
NAMES = ("dit", "flux", "wan", "stable-audio-3", "kandinsky22-inpaint")


def folder_of_configs(name: str, folder: Path) -> Path:
    """The saved pipeline without its weights."""
    CASES[name].build().save_pretrained(folder)
    weights = [*folder.rglob("*.safetensors"), *folder.rglob("*.bin")]
    for file in weights:
        file.unlink()
    assert weights
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_configs_alone_tell_what_the_denoiser_is_called_with(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = recorded_by_configs(folder_of_configs(name, tmp_path), case.component, call=case.call())
    keys = None if case.keys == PROMPTS else case.keys
    real = Teacher.from_pipeline(case.build(), case.component, call=case.call() or None, keys=keys)
    config = clean(real.network.config)  # type: ignore[arg-type]
    assert found.cls is type(real.network) and json.dumps(found.config) == json.dumps(config)
    assert found.latent_shape == real.latent_shape
    assert shapes_of(found.inputs) == shapes_of(real.example())
    counted = count_macs(found.cls, found.config, inputs=found.inputs)
    assert counted and counted == count_macs(found.cls, found.config, inputs=real.example())


def test_inspect_counts_a_folder_of_configs(cli: Cli, tmp_path: Path) -> None:
    folder = folder_of_configs("pixart-sigma", tmp_path / "p")
    said = cli("inspect", folder, "--student", "depth=0.5", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["macs"]["teacher"]["total"] > found["macs"]["student"]["total"] > 0
    assert not any("not counted" in note for note in found["notes"])
    assert "counted for hidden_states 1 x 4 x " in cli("inspect", folder).out
    (folder / "scheduler" / "scheduler_config.json").unlink()
    assert "note: counted without its pipeline: " in cli("inspect", folder, "--student", "depth=0.5").out


def test_a_folder_that_cannot_be_recorded_is_one_clear_line(tmp_path: Path) -> None:
    folder = folder_of_configs("dit", tmp_path)
    (folder / "transformer" / "config.json").unlink()
    with pytest.raises(UserError, match="cannot be recorded by its configs alone: ") as caught:
        recorded_by_configs(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in NOT_ASKED])
def test_a_network_that_stands_alone_says_what_it_takes(name: str) -> None:
    config, real = NETWORKS[name]
    found = inputs_of(on_meta(getattr(diffusers, name), config), tokens=5)
    assert found is not None
    for path, value in found.items():
        if isinstance(value, torch.Tensor) and value.ndim > 2:
            assert value.ndim == real[path].ndim and (value.shape[-1] == real[path].shape[-1] or value.ndim > 3)
        assert path in real


def test_a_network_that_no_arguments_were_found_for_says_so() -> None:
    plan = make_plan(NETWORKS["HunyuanDiT2DModel"][0], diffusers.HunyuanDiT2DModel, "depth=0.5")
    assert "give its pipeline's folder" in inspect(plan).notes[-1] and plan.taps
