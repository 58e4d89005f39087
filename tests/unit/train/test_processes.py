"""Two processes on gloo do what one does: the same D, draws and, within the order of summation, weights."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from condistill import Teacher, UserError, processes
from condistill.errors import Remark
from condistill.evaluate.sheets import sheet, tiles
from condistill.train.zero import refuse_settings
from tests import tiny
from tests.unit.train import two_processes
from tests.unit.train.test_validation import rows_of
from tests.unit.train.two_processes import HAS_DEEPSPEED, classes, made, narrowed, trained

DIES_WITHIN_SECONDS = 60
NEEDS_DEEPSPEED = pytest.mark.skipif(not HAS_DEEPSPEED, reason="deepspeed is not installed")
PAIRS = [pytest.param("pair"), *(pytest.param(f"{name}-pair", marks=NEEDS_DEEPSPEED) for name in ("zero", "parts"))]
pytestmark = pytest.mark.timeout(900)  # the first makes what all look at: a minute where nothing else runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process made, what two made, and what was begun by one and finished by the other."""
    folder = tmp_path_factory.mktemp("processes")
    teacher = Teacher.from_pipeline(tiny.sd())
    cache = made(teacher, folder / "D1")
    trained(teacher, cache, folder / "one", steps=4)
    trained(teacher, cache, folder / "one-two", steps=2)
    others = classes(folder)
    narrowed(*others, folder / "narrow", steps=4)
    narrowed(*others, folder / "one-shares", steps=2)
    if HAS_DEEPSPEED:
        shutil.copytree(folder / "one-shares", folder / "one-zero")
        shutil.copytree(folder / "one-shares", folder / "one-parts")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    root = str(Path(__file__).parents[3])
    ranks = [
        subprocess.Popen(
            [sys.executable, two_processes.__file__, str(folder)], stderr=subprocess.PIPE, text=True, cwd=root,
            env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank),
                 "PYTHONPATH": os.pathsep.join([root, os.path.join(root, "src")])},
        )
        for rank in range(2)
    ]  # fmt: skip
    ranks[1].wait(timeout=600)
    died = time.monotonic()
    said = ranks[0].communicate(timeout=600)[1]
    (folder / "ranks.json").write_text(
        json.dumps({"codes": [rank.returncode for rank in ranks], "seconds": time.monotonic() - died, "said": said})
    )
    trained(teacher, cache, folder / "two-one", steps=4)
    narrowed(*others, folder / "shares-one", steps=4)
    if HAS_DEEPSPEED:
        narrowed(*others, folder / "zero-one", steps=4)
        narrowed(*others, folder / "parts-one", steps=4)
    return folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines() if '"step",' in line]


def test_d_is_the_same_and_whole(folder: Path) -> None:
    one, two = folder / "D1", folder / "D2"
    names = sorted(path.name for path in one.iterdir() if path.suffix in (".safetensors", ".jsonl"))
    assert len(names) == 11 and names == sorted(p.name for p in two.iterdir() if p.suffix in (".safetensors", ".jsonl"))
    assert [name for name in names if (one / name).read_bytes() != (two / name).read_bytes()] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [*(("one", name) for name in ("two", "two-one", "one-two")),
     *(("narrow", name) for name in ("shares", "shares-one", "one-shares")),
     *(pytest.param("narrow", name, marks=NEEDS_DEEPSPEED)
       for name in ("zero", "zero-one", "one-zero", "parts", "parts-one", "one-parts"))],
)  # fmt: skip
def test_draws_are_equal_and_weights_within_the_order_of_summation(folder: Path, one: str, other: str) -> None:
    for mine, theirs in zip(lines(folder / one), lines(folder / other), strict=True):
        for key in ("step", "swap_rate", "swap_rate_by_time", "lr"):
            assert mine[key] == theirs[key]
        assert [row["n"] for row in mine["by_time"]] == [row["n"] for row in theirs["by_time"]]
        # the student's float32 sums in another order; seen: 1e-6 of the loss
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)
        assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-4)
    for part in ("pupil", "ema"):  # with the projections
        file = f"checkpoints/step-00000004/0.{part}.safetensors"
        mine, theirs = load_file(folder / one / file), load_file(folder / other / file)
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            # an update of Adam is of the size of the rate whatever the gradient's, so a sign may turn where it is ~0
            assert torch.allclose(value, theirs[name], atol=4e-4), (part, name)
    # as the pipeline's own file: whole tensors under their own names, whoever wrote it
    (mine,), (theirs,) = (
        [
            load_file(file)
            for file in (run / "student").glob("*/diffusion_pytorch_model.safetensors")
            if "vae" not in str(file)
        ]
        for run in (folder / one, folder / other)
    )
    assert mine.keys() == theirs.keys()
    assert all(torch.allclose(value, theirs[name], atol=4e-4) for name, value in mine.items())
    assert any(
        name.startswith("projections.")
        for name in load_file(folder / one / "checkpoints/step-00000004/0.pupil.safetensors")
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "ask for Megatron-LM, which is not supported; choose FSDP with"),
        ({"ACCELERATE_USE_FSDP": "true"}, "ask for FSDP version 1, which"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "ask for tensor, context"),
    ],
)
def test_other_engines_are_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], said: str
) -> None:
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        Teacher.load("emoji")


def test_without_deepspeed_a_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    processes.check_engine()  # one process shares with nobody
    assert not processes.is_zero()
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="ask for DeepSpeed, which is not installed; pip install deepspeed, or choose"):
        processes.check_engine()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"zero_optimization": {"stage": 0}}, "ZeRO stage 0; set zero_stage: 1, 2 or 3, or launch without"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, "offloading, which is not"),
        ({"optimizer": {"type": "Adam"}}, "its own optimizer, which the recipe decides"),
        ({"bf16": {"enabled": True}}, "bf16, which the recipe decides: .* set train.precision=bf16"),
        ({"gradient_clipping": 0.5}, "gradient_clipping 0.5, the recipe for 1.0"),
        ({"gradient_accumulation_steps": 4}, "gradient accumulation, .* use train.micro_batch"),
    ],
)
def test_what_of_deepspeed_the_recipe_decides(config: dict[str, Any], said: str) -> None:
    usual = {"zero_optimization": {"stage": 2}, "gradient_clipping": "auto", "bf16": {"enabled": "auto"}}
    refuse_settings(usual, clip=1.0, precision="bf16")
    with pytest.raises(UserError, match=f"DeepSpeed settings ask for {said}"):
        refuse_settings(usual | config, clip=1.0, precision="no")
    with pytest.raises(UserError, match="fp16 is not supported with DeepSpeed"):
        refuse_settings(usual, clip=1.0, precision="fp16")


def test_accelerate_starts_one_process_on_a_cpu_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    processes.join()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.warns(Remark, match=r"this is a single process: .* torchrun --nproc-per-node"):
        processes.join()


@pytest.mark.parametrize("run", PAIRS)
def test_two_students_in_shares_at_once(folder: Path, run: str) -> None:
    first, second = (load_file(folder / run / f"checkpoints/step-00000001/{k}.optimizer.safetensors") for k in range(2))
    # of the same first weights, but for the last bits, and each with all of its own moments
    assert first.keys() == second.keys() and all(torch.allclose(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("run", PAIRS)
def test_grids_are_drawn_where_each_process_holds_a_share(folder: Path, run: str) -> None:
    index = json.loads((folder / run / "validation/index.json").read_text())
    assert [row["step"] for row in index["steps"]] == [1] and index["groups"] == {"prompts": ["1", "8"]}
    _, *rows = rows_of(folder / run / "validation/step-000001.png", 3)
    for k, row in enumerate(rows):
        student = Teacher.load(folder / run / f"students/{k}")
        made = student.sample([1, 8], seed=index["seeds"], call={"num_inference_steps": 2}, output="np").images
        drawn = sheet([tiles(made, None)], rate=None).picture
        # one level of 255, where another number of threads sums in another order
        assert np.abs(row.astype(int) - drawn).max() <= 1


@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_not_finite_in_one_is_skipped_by_both(folder: Path, pair: str) -> None:
    run = pair.replace("pair", "skipped")
    lines = [json.loads(line) for line in (folder / run / "log.jsonl").read_text().splitlines()]
    assert [(line["event"], line["step"]) for line in lines[1:]] == [("step", 1), ("skip", 2), ("end", 2)]
    assert lines[2]["why"] == "its gradient"  # as the first process, whose loss is finite, gets to know
    after_one = load_file(folder / pair / "checkpoints/step-00000001/0.pupil.safetensors")
    after_two = load_file(folder / run / "checkpoints/step-00000002/0.pupil.safetensors")
    assert all(torch.allclose(value, after_two[name], atol=4e-4) for name, value in after_one.items())


def test_when_one_dies_the_other_stops_soon_and_nothing_is_lost(folder: Path) -> None:
    ranks = json.loads((folder / "ranks.json").read_text())
    assert ranks["codes"][1] == -9 and ranks["codes"][0] not in (0, None), ranks["said"][-2000:]
    assert ranks["seconds"] < DIES_WITHIN_SECONDS
    assert not (folder / "alone" / "student").exists() and (folder / "two" / "student" / "model_index.json").is_file()
