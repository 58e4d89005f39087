"""Pipelines recorded by their configs alone, against the same pipelines recorded with their weights."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers.configuration_utils import register_to_config

from condistill import Teacher
from condistill.errors import UserError
from condistill.students import count_macs, inspect, make_plan
from condistill.students.by_configs import recorded_by_configs, shapes_of
from condistill.students.likely import found_for, likely_inputs
from condistill.students.meta import clean, on_meta
from condistill.students.room import Room
from tests.tiny.case import PROMPTS
from tests.tiny.catalogue import catalogue
from tests.unit.cli.conftest import Cli, written
from tests.unit.cli.conftest import cli as cli
from tests.unit.students.networks import NETWORKS

CASES = catalogue()
# class labels, two text encoders, a video, a sound, a U-Net with an encoder of pictures and a mask
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


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_stands_alone_says_what_it_takes(name: str) -> None:
    config, real = NETWORKS[name]
    network = on_meta(getattr(diffusers, name), config)
    x = next(iter(real.values()))  # pictures and videos of 8 x 8 with 4 channels, or 16 tokens
    frames = next((size for size in x.shape[1:3] if size != 4), 1) if x.ndim == 5 else 1
    side = 8 if x.ndim > 3 else 4
    found = likely_inputs(network, Room(frames, side, side, 5, network.config))  # type: ignore[arg-type]
    assert found.inputs is not None, found.why
    shapes = shapes_of(found.inputs)
    assert set(shapes) <= set(shapes_of(real)) and next(iter(shapes.values())) == tuple(x.shape)
    for path, shape in shapes.items():
        if path.startswith("encoder_hidden_states"):
            assert shape == tuple(real[path].shape)
    counted = count_macs(type(network), config, inputs=found.inputs)
    if "clip_img" in shapes:  # of how many tokens a picture is, nothing says
        found.inputs["clip_img"] = real["clip_img"]
        counted = count_macs(type(network), config, inputs=found.inputs)
    assert counted and counted == count_macs(type(network), config, inputs=real)


class Alone(diffusers.ModelMixin, diffusers.ConfigMixin):
    """Takes a table where its config says so, and has a layer and an argument of which nothing is known."""

    @register_to_config
    def __init__(self, num_layers: int = 2, wants: str = ""):
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(num_layers))
        self.tables = torch.nn.Linear(3, 4) if wants == "idle" else None

    def forward(self, hidden_states: torch.Tensor, timestep: torch.Tensor, knob: torch.Tensor) -> torch.Tensor:
        if self.config["wants"] == "table":
            knob.lookup()  # type: ignore[operator]
        hidden_states = hidden_states + 0 * timestep
        if self.config["wants"] != "width":
            hidden_states = hidden_states + knob.sum()
        for block in self.blocks:
            hidden_states = block(hidden_states)
        return hidden_states[..., 0] if self.config["wants"] == "shape" else hidden_states


@pytest.mark.parametrize(
    ("wants", "why"),
    [
        ("table", "'Tensor' object has no attribute 'lookup'"),
        ("idle", "no argument was found with which tables takes part"),
        ("width", "no layer asks how wide knob is"),
        ("shape", "what comes out has not the shape of x_t"),
    ],
)
def test_a_network_of_which_too_little_shows_says_what(wants: str, why: str) -> None:
    assert why in found_for(on_meta(Alone, {"wants": wants})).why
    plan = make_plan({"num_layers": 4, "wants": wants}, Alone, "depth=0.5")
    assert why in (note := inspect(plan).notes[-1]) and note.endswith("give its pipeline's folder")


def test_a_component_by_itself(cli: Cli, tmp_path: Path) -> None:
    """Its folder, or its config alone, is inspected and planned; it cannot be loaded as a teacher."""
    config, _ = NETWORKS["HunyuanDiT2DModel"]
    folder = tmp_path / "transformer"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_class_name": "HunyuanDiT2DModel"} | config))
    said = cli("inspect", folder, "--student", "depth=0.5", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["macs"]["teacher"]["total"] > found["macs"]["student"]["total"] > 0
    assert found["counted_for"]["hidden_states"] == [1, 4, 8, 8] and not any("counted" in one for one in found["notes"])
    for teacher in (folder, folder / "config.json"):
        file = written(tmp_path, teacher, student="depth=0.5", compare="{}")
        said = cli("plan", file, "--gpu", "a10", "--json")
        assert said.code == 0, said.err
        plan = json.loads(said.out)
        assert plan["sizes"]["teacher"]["macs"] == found["macs"]["teacher"]["total"]
        assert any("text encoders and VAE are not counted" in note for note in plan["notes"])
        assert any("hidden_states 1 x 4 x 8 x 8, whatever size data.call says" in note for note in plan["notes"])
        assert "a pipeline folder" in cli("validate", file).error or "no pipeline folder" in cli("validate", file).error
