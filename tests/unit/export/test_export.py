"""A pipeline in other engines: run there, it gives what the pipeline gives; also without a mid block."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from condistill import Teacher
from condistill.errors import UserError
from condistill.export import FORMATS, default_place, export
from condistill.export.single_file import original_layout
from tests.tiny.pipelines import dit, sd, sdxl
from tests.unit.cli.conftest import Cli
from tests.unit.cli.conftest import cli as cli


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student without a mid block."""
    made = Teacher.from_pipeline(sd()).student("b-small")
    return made.save(tmp_path_factory.mktemp("student") / "s")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a network of two stages: what the engines' exporters take goes with the number of layers."""
    stages = {
        "block_out_channels": (8, 8),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    made = Teacher.from_pipeline(sd(**stages)).student("b-small")
    assert made.network.mid_block is None
    return made.save(tmp_path_factory.mktemp("narrow") / "s")


def test_one_file_is_read_back_alike(cli: Cli, student: Path, tmp_path: Path) -> None:
    said = cli("export", student, "--to", "single-file", "--out", "s.safetensors", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["tensors"] > 500 and found["mid_block"] is False
    names = load_file(tmp_path / "s.safetensors")
    assert "model.diffusion_model.input_blocks.1.0.in_layers.0.weight" in names
    assert "first_stage_model.decoder.up.1.block.0.norm1.weight" in names
    assert not any("middle_block" in name for name in names)
    again = cli("export", student, "--to", "single-file", "--out", "s.safetensors")
    assert "must be the name of a new .safetensors file" in again.error
    assert "AutoencoderTiny" in cli("export", "emoji", "--to", "single-file", "--out", "e.safetensors").error
    assert not (tmp_path / "e.safetensors").exists()


def test_two_text_encoders_have_their_places_and_other_networks_none(tmp_path: Path) -> None:
    pipeline = sdxl()
    pipeline.save_pretrained(tmp_path / "xl")
    found = export(tmp_path / "xl", "single-file", out=tmp_path / "xl.safetensors")
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2)
    assert found["tensors"] == sum(len(part.state_dict()) for part in parts)
    names = load_file(tmp_path / "xl.safetensors")
    merged = names["conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"]
    assert merged.shape[0] == 3 * merged.shape[1]
    assert torch.equal(names["model.diffusion_model.label_emb.0.2.bias"], pipeline.unet.add_embedding.linear_2.bias)
    with pytest.raises(UserError, match="has no unet"):
        original_layout(dit())


def test_what_is_not_there_is_said(cli: Cli, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unknown format 'onix'; did you mean 'onnx'" in cli("export", student, "--to", "onix").error
    assert default_place(student, "onnx") == student.parent / "s-onnx"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # not installed
    assert "pip install 'condistill[export]'" in cli("export", student, "--to", "onnx").error
    assert "no such pipeline folder: nowhere" in cli("export", "nowhere", "--to", "onnx").error


@pytest.mark.parametrize("to", [name for name, form in FORMATS.items() if form.needs])
def test_an_export_runs_as_the_pipeline_does(
    to: str, narrow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(sys.prefix) / "engines")  # beside what every process imports: see Makefile
    for name in FORMATS[to].needs:
        if importlib.util.find_spec(name) is None:  # not imported here: that is the export's own business
            pytest.skip(f"{name} is not installed")
    forked: list[Any] = []  # as openvino does, to tell its maker
    monkeypatch.setattr("multiprocessing.Process", lambda *args, **kwargs: forked.append(args) or 1 / 0)
    found = export(narrow, to, out=tmp_path / "out")
    assert forked == []
    assert {one["name"] for one in found["parts"]} == {"text_encoder", "unet", "vae_decode"}
    worst = max(found["run"]["relative_error"], *(one["relative_error"] for one in found["parts"]))
    assert worst <= found["tolerance"]["relative_error"]
    assert all(one["any_batch"] and one["seconds_after"] > 0 for one in found["parts"])
    assert json.loads((tmp_path / "out" / "export.json").read_text())["format"] == to
