"""`condistill student` with a LoRA to carry over and with blocks that are measured on D."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils.save_and_load import get_peft_model_state_dict

from condistill import Teacher
from condistill.files import load_tensors, save_tensors
from condistill.generate import generate
from tests.tiny.pipelines import dit, sd
from tests.unit.cli.conftest import Cli


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a LoRA on the tiny teacher's attention."""
    folder = tmp_path_factory.mktemp("lora")
    unet = sd().unet
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_out.0"]))
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet))
    return folder / "pytorch_lora_weights.safetensors"


def test_a_lora_is_carried_over_to_the_student(cli: Cli, pipeline: Path, lora: Path, tmp_path: Path) -> None:
    said = cli("student", pipeline, "--student", "b-base", "--out", "s", "--lora", lora, "--json")
    assert said.code == 0, said.err
    made = json.loads(said.out)["lora"]
    removed = "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q"
    assert made["folder"] == "s/lora" and made["dropped"][removed] == "the layer was removed"
    theirs, _ = load_tensors(lora)
    ours, _ = load_tensors(tmp_path / "s" / "lora" / lora.name)
    assert made["tensors"] == len(ours) == len(theirs) - 2 * len(made["dropped"])
    layer = "up_blocks.1.attentions.{}.transformer_blocks.0.attn1.to_q"
    for side in "AB":
        name = f"unet.{layer}.lora_{side}.weight"
        assert torch.equal(ours[name.format(1)], theirs[name.format(2)])

    student = DiffusionPipeline.from_pretrained(tmp_path / "s")
    query = student.unet.get_submodule(layer.format(1))
    x = torch.randn(1, 3, query.in_features)
    before = query(x)
    student.load_lora_weights(tmp_path / "s" / "lora")
    change = student.unet.get_submodule(layer.format(1))(x) - before
    a, b = (theirs[f"unet.{layer.format(2)}.lora_{side}.weight"] for side in "AB")
    torch.testing.assert_close(change, x @ a.T @ b.T, rtol=1e-4, atol=1e-5)

    told = cli("student", pipeline, "--student", "b-base", "--out", "t", "--lora", lora)
    assert f"left out: {removed}: the layer was removed" in told.out


def test_loras_that_cannot_be_carried_over_are_one_line(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    words = ("student", pipeline, "--student", "b-base", "--out", "s", "--lora")
    assert cli(*words, "none.safetensors").error.startswith("no such file: none.safetensors")
    (tmp_path / "lora.pt").write_bytes(b"")
    assert "pickled weights can run code and are refused" in cli(*words, "lora.pt").error
    save_tensors(tmp_path / "odd.safetensors", {"unet.no.such.lora_A.weight": torch.zeros(1, 1)})
    assert "fits no layer of the student: no.such" in cli(*words, "odd.safetensors").error
    assert not (tmp_path / "s" / "model_index.json").exists()


def test_blocks_are_measured_on_the_given_d(cli: Cli, tmp_path: Path) -> None:
    teacher = Teacher.from_pipeline(dit())
    teacher.save(tmp_path / "dit")
    generate(teacher, [1, 2], out=tmp_path / "d", call={"num_inference_steps": 2}, progress=False)
    words = ("student", "dit", "--student", "depth=0.5+blocks=scored", "--out", "s", "--json")
    assert "--cache" in cli(*words).error
    said = cli(*words, "--cache", "d")
    assert said.code == 0, said.err
    spec = json.loads(said.out)["spec"]
    assert spec.startswith("keep=transformer_blocks:")
    shown = json.loads(cli("inspect", "dit", "--student", spec, "--json").out)
    assert shown["parameters"]["student"] == json.loads(said.out)["parameters"]
    assert "--cache" in cli("inspect", "dit", "--student", "depth=0.5+blocks=scored").error
