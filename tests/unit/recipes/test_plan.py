"""What a recipe will take: counted without weights, measured on a tiny pipeline, and the line before a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from condistill.errors import UserError
from condistill.recipes.hardware import GIB, gpu
from condistill.recipes.load import load_recipe
from condistill.recipes.outlook import Outlook
from condistill.recipes.plan import plan_recipe
from condistill.recipes.run import Run
from condistill.students.footprint import footprint
from condistill.students.meta import clean
from condistill.train.compiling import COMPILED_SHARE, STUDENT_SECONDS, TEACHER_SECONDS
from tests.tiny.pipelines import sd
from tests.unit.cli.conftest import Cli, written
from tests.unit.cli.conftest import cli as cli
from tests.unit.cli.conftest import pipeline as pipeline

SD14 = 401_600_000_000, 261_500_000_000  # of one pass of teacher and B-Base; see test_published.py


@pytest.fixture(autouse=True)
def enough_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is advised must not depend on the disk of the machine that the tests run on."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(total=1 << 50, used=0, free=1 << 50))


def planned(recipe: str, *overrides: str, gpu_name: str = "a100-80gb", num_devices: int = 1) -> Outlook:
    loaded = load_recipe(recipe, overrides)
    return plan_recipe(loaded, title=recipe, out="runs", gpu_name=gpu_name, num_devices=num_devices)


def test_what_a_sample_keeps_is_what_a_real_run_keeps() -> None:
    network, num = sd().unet, 4
    seen, kept = {p.untyped_storage().data_ptr() for p in network.parameters()}, []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in seen:
            seen.add(tensor.untyped_storage().data_ptr())
            kept.append(tensor)
        return tensor

    channels, size, text = (network.config[name] for name in ("in_channels", "sample_size", "cross_attention_dim"))
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.randn(num, channels, size, size), torch.tensor([3.0] * num), torch.randn(num, 77, text))
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept) / num
    found = footprint(type(network), clean(network.config))
    assert found is not None and found.redone == 0
    # views of one storage, and the time embedding's few numbers, are not counted quite alike
    assert found.kept == pytest.approx(real, rel=0.1)
    less = footprint(type(network), clean(network.config), checkpointing=True)
    assert less is not None and less.redone > 0 and less.kept + less.redone < found.kept


def test_time_by_the_data_sheet_is_operations_over_speed() -> None:
    found = planned("sd14-b-base", "data.num_items=1000", "train.steps=10", "train.gradient_checkpointing=false")
    low, high = found.seconds["training"]
    teacher, student = SD14
    by_hand = 2 * (teacher + 3 * student) * 10 * 256 / 312e12
    assert (low, high) == pytest.approx((by_hand / 0.28, by_hand / 0.10), rel=0.01)
    drawn = 2 * teacher * 25 * 2 * 1000 / 19.5e12  # float32, guided: two passes a step
    assert found.seconds["D"] == pytest.approx((drawn / 0.6, drawn / 0.3), rel=0.01)
    assert found.device_hours[0] == pytest.approx(found.seconds["all"][0] / 3600)
    assert found.disk["D"] == pytest.approx(1000 * 4 * 64 * 64 * 2, rel=0.01)
    shared = planned("sd14-b-base", "data.num_items=1000", "train.steps=10", num_devices=8)
    assert shared.memory.share == 32 and shared.device_hours[0] > 8 * shared.seconds["all"][0] / 3600 * 0.999


def test_the_micro_batch_that_fits_and_what_to_change() -> None:
    found = planned("sd14-b-base", "train.micro_batch=256")
    memory = found.memory
    assert memory.fits is False and memory.largest == 128 and memory.sample_bytes
    assert memory.fixed_bytes + 128 * memory.sample_bytes <= 0.92 * 80 * GIB < memory.peak_bytes  # type: ignore[operator]
    assert found.advice[0].startswith("train.micro_batch=128, the largest that fits")
    assert planned("sd14-b-base", "train.micro_batch=128").advice == ()
    small = ("train.precision=no", "train.gradient_checkpointing=false", "train.micro_batch=null")
    tight = planned("sdxl-koala-700m", *small, "student=vega", gpu_name="a10")
    assert tight.memory.largest == 0 and "train.gradient_checkpointing=true" in tight.advice[0]
    assert "that fits    none" in "\n".join(tight.lines())
    auto = ("train.gradient_checkpointing=auto", "train.micro_batch=16", "student=vega")
    for gpu_name, want in (("h200", "not needed"), ("a10", "taken")):
        decided = planned("sdxl-koala-700m", *auto, gpu_name=gpu_name)
        assert f"train.gradient_checkpointing=auto: {want}" in decided.notes
        asked = planned(
            "sdxl-koala-700m", *auto[1:], f"train.gradient_checkpointing={want == 'taken'}".lower(), gpu_name=gpu_name
        )
        assert decided.memory == asked.memory and decided.seconds == asked.seconds
    assert "a smaller student" in planned("sdxl-koala-700m", gpu_name="t4").advice[0]


def test_what_is_not_known_is_said() -> None:
    found = planned("sd14-b-base")
    assert any("laion-aesthetics-6.5.csv is not here" in note for note in found.notes)
    assert gpu("H100").memory_bytes == 80 * GIB
    assert not any("train.compile" in note for note in found.notes) and "compiling" not in found.seconds
    for wanted in ("true", "auto"):  # 100,000 steps and more are worth it
        assert any("train.compile" in note for note in planned("sd14-b-base", f"train.compile={wanted}").notes)
    short = planned("sd14-b-base", "train.compile=auto", "train.steps=10", "train.warmup_steps=0")
    assert not any("train.compile" in note for note in short.notes)
    with pytest.raises(UserError, match="unknown GPU 'h10'; did you mean"):
        planned("sd14-b-base", gpu_name="h10")


def test_a_pipeline_that_is_here_is_measured(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    file = written(tmp_path, pipeline)
    said = cli("plan", file, "--json", "--out", "run")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["basis"].startswith("measured here") and found["recipe"] == "tiny"
    assert list(found["seconds"]) == ["D", "train without", "train with", "evaluation", "all"]
    assert all(0 < low == high < 60 for low, high in found["seconds"].values())
    assert found["memory"]["largest"] == 2 and found["memory"]["fits"] and not (tmp_path / "run").exists()
    assert "--gpu" in cli("plan", file, "--gpus", "2").error
    compiled = json.loads(cli("plan", file, "train.compile=true", "--json").out)["seconds"]
    # both arms train students of one shape, so its blocks and the teacher's count once; either has four down, four up
    # and one in the middle, of which the first two (16 to 16 channels) share their code
    by_hand = 8 * TEACHER_SECONDS + 8 * STUDENT_SECONDS
    assert list(compiled)[-2:] == ["compiling", "all"] and compiled["compiling"] == pytest.approx([by_hand] * 2)
    assert compiled["train with"][0] == pytest.approx(compiled["train with"][1] * COMPILED_SHARE)
    assert compiled["D"][0] == compiled["D"][1] and compiled["all"][0] > compiled["compiling"][0]
    counted = json.loads(cli("plan", file, "--gpu", "h100", "--json").out)
    assert 0 < counted["seconds"]["all"][0] < counted["seconds"]["all"][1]
    assert counted["sizes"]["teacher"]["macs"] > counted["sizes"]["students"]["with"]["macs"] > 0


def test_a_folder_without_weights_is_counted_by_its_configs(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(pipeline, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    plans = [json.loads(cli("plan", written(tmp_path, one), "--gpu", "h100", "--json").out) for one in (pipeline, bare)]
    assert plans[0]["sizes"] == plans[1]["sizes"] and plans[0]["seconds"] == plans[1]["seconds"]
    assert any("which has no weights" in note for note in plans[1]["notes"])


def test_the_line_before_a_run_changes_nothing_of_it(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    file = written(tmp_path, pipeline, evaluate="null", compare="{}")
    plain = Run(load_recipe(file), tmp_path / "plain", progress=False)
    plain.train()
    said = cli("run", file, "--out", "run")
    assert said.code == 0 and "outlook: about " in said.err
    one, other = (
        (tmp_path / name / "student" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
        for name in ("plain", "run")
    )
    assert one == other
    assert "outlook" not in cli("run", file, "--out", "run").err
