"""Evaluation through backbones, end to end: the paper's protocol, what its record says, and any number of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import PNDMScheduler
from PIL import Image
from safetensors.torch import save_file

from condistill import Teacher
from condistill.errors import UserError
from condistill.evaluate import Results, evaluate
from condistill.evaluate.items import choose
from condistill.evaluate.results import joined
from condistill.maths.distances import frechet_distance, moments
from tests import tiny
from tests.unit.evaluate import networks

PROMPTS = ["a fox", "a panda", "a ball", "a red house"]
SMALL = {"num_inference_steps": 2, "guidance_scale": 7.5}
PIXELS = {"height": 16, "width": 16}
OPTIONS = {"progress": False, "latency": False, "grid": 2}


def pipeline(seed: int = 0):
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    made = tiny.sd(seed, scheduler=PNDMScheduler(**betas, skip_prk_steps=True, steps_offset=1))
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def models():
    teacher = Teacher.from_pipeline(pipeline())
    return {"teacher": teacher, "student": teacher.with_network(pipeline(1).unet)}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return {"clip": networks.clip(folder / "clip"), "dino": networks.dino(folder / "dino")}


def test_features_are_those_of_the_pipelines_own_images_and_are_shared(models, places, tmp_path):
    found = evaluate(
        models, PROMPTS, protocol="plain", metrics=["fd_clip", "clip_score", "fd_dino"], backbones=places, call=SMALL,
        keep_images=tmp_path / "kept", **OPTIONS,
    )  # fmt: skip
    from condistill.evaluate.backbones import load_all

    clip, _ = load_all(["clip", "dino"], places, torch.device("cpu"))
    (items,) = choose(PROMPTS, num_items=None, seed=1)
    images = models["student"].sample(items.keys, seed=items.seeds, call=SMALL).images
    pixels = (images * 255).round().astype(np.uint8)
    seen = clip.features(pixels, items.keys, frozenset({"clip", "clip_text"}))
    scores = found.model("student").groups["all"]
    assert scores["clip_score"].value == pytest.approx((seen["clip"] * seen["clip_text"]).sum(axis=1).mean(), abs=1e-6)
    others = models["teacher"].sample(items.keys, seed=items.reference_seeds, call=SMALL).images
    theirs = clip.features((others * 255).round().astype(np.uint8), None, frozenset({"clip"}))["clip"]
    wanted = frechet_distance(*moments(seen["clip"]), *moments(theirs))
    assert scores["fd_clip"].value == pytest.approx(wanted, rel=1e-4)
    kept = sorted((tmp_path / "kept" / "student" / "all").iterdir())
    assert [path.name for path in kept] == [f"{k:06d}.png" for k in range(4)]
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(path)) for path in kept]), pixels)


def test_coco30k_is_the_papers_protocol(models, places, tmp_path):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    save_file(networks.inception_tensors(module), tmp_path / "inception.safetensors")
    named = {**places, "inception": tmp_path / "inception.safetensors"}
    real = np.random.default_rng(0).normal(size=(8, 2048))
    np.savez(tmp_path / "real.npz", mu=moments(real)[0], sigma=moments(real)[1])
    (tmp_path / "captions.csv").write_text(
        "file_name,text\n" + "".join(f"{k}.jpg,{p}\n" for k, p in enumerate(PROMPTS))
    )
    found = evaluate(
        models, str(tmp_path / "captions.csv"), protocol="coco30k", backbones=named,
        call={**SMALL, **PIXELS},
        reference=tmp_path / "real.npz", out=tmp_path / "out", keep_images=tmp_path / "kept", **OPTIONS,
    )  # fmt: skip
    assert list(found.model("student").groups["all"]) == ["fid", "inception_score", "clip_score"]
    record = json.loads((tmp_path / "out" / "results.json").read_text())["protocol"]
    assert (
        record["call"] == {**SMALL, **PIXELS} and record["scheduler"] == "PNDMScheduler" and record["n"] == {"all": 4}
    )
    assert record["image"] == {"size": 256, "filter": "bicubic"} and record["scheduler_config"]["skip_prk_steps"]
    assert set(record["backbones"]) == {"inception", "clip"}
    assert all(len(about["sha256"]) == 64 for about in record["backbones"].values())
    assert record["reference"]["all"].startswith("statistics, sha256 ")
    assert Image.open(tmp_path / "kept" / "teacher" / "all" / "000000.png").size == (256, 256)


def test_coco30k_asks_for_512_pixels_25_steps_and_pndm(models, places):
    from condistill.evaluate.protocols import PROTOCOLS

    wanted = PROTOCOLS["coco30k"]
    assert dict(wanted.call) == {"num_inference_steps": 25, "guidance_scale": 7.5, "height": 512, "width": 512}
    assert (wanted.size, wanted.metrics) == (256, ("fid", "inception_score", "clip_score"))
    ddim = Teacher.from_pipeline(tiny.sd())
    with pytest.raises(UserError, match="samples with PNDMScheduler, and 'teacher' has DDIMScheduler"):
        evaluate({"teacher": ddim}, PROMPTS, protocol="coco30k", metrics=["clip_score"], backbones=places, **OPTIONS)


def test_a_metric_without_its_weights_says_which_file_goes_where(models):
    with pytest.raises(UserError, match="--backbone inception=PATH"):
        evaluate(models, PROMPTS, protocol="plain", metrics=["fid"], **OPTIONS)


def test_numbers_of_different_protocols_do_not_share_a_column(models, places):
    def measured(**options):
        given = {"metrics": ["clip_score"], "backbones": places, "call": SMALL, **OPTIONS, **options}
        return evaluate(models, PROMPTS, protocol="plain", **given)

    first, again, longer = measured(), measured(batch=1), measured(call={**SMALL, "num_inference_steps": 3})
    assert first.hash == again.hash == first.protocol["hash"] != longer.hash
    both = joined([first, again], ["one", "two"])
    assert [model.name for model in both.models] == ["teacher", "one / student", "two / student"]
    with pytest.raises(UserError, match=r"one and two were measured by different protocols \(call\)"):
        joined([first, longer], ["one", "two"])


def test_the_gap_has_taps_where_the_student_has_a_plan(models):
    teacher = models["teacher"]
    student = teacher.student("b-base")
    found = evaluate({"teacher": teacher, "student": student}, PROMPTS, protocol="plain", call=SMALL, **OPTIONS)
    assert student.plan is not None
    taps = found.model("student").groups["all"]["kd_gap"].by_tap
    assert [tap["tap"] for tap in taps] == [pair.teacher for pair in student.plan.taps]
    assert all(0 < tap["low"] <= tap["value"] <= tap["high"] for tap in taps)
    bare = teacher.with_network(student.network)
    again = evaluate({"teacher": teacher, "student": bare}, PROMPTS, protocol="plain", call=SMALL, **OPTIONS)
    same = again.model("student").groups["all"]["kd_gap"]
    assert same.by_tap == () and same.value == found.model("student").groups["all"]["kd_gap"].value


RANK = """
import os, sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from condistill.evaluate import evaluate
folder = Path(sys.argv[1])
evaluate(
    {"teacher": folder / "teacher", "student": folder / "small"}, sys.argv[2:], protocol="plain",
    metrics=["kd_gap", "clip_score", "fd_clip"], backbones={"clip": folder / "clip"}, batch=2, num_items=7,
    call={"num_inference_steps": 1}, out=folder / "two", keep_images=folder / "kept",
    store=folder / "store", progress=False, latency=False, grid=2,
)
"""


@pytest.mark.slow
def test_two_processes_find_what_one_finds(models, tmp_path):
    networks.clip(tmp_path / "clip")
    models["teacher"].save(tmp_path / "teacher")
    models["student"].save(tmp_path / "small")
    one = evaluate(
        {"teacher": tmp_path / "teacher", "student": tmp_path / "small"}, PROMPTS, protocol="plain",
        metrics=["kd_gap", "clip_score", "fd_clip"], backbones={"clip": tmp_path / "clip"}, batch=2, num_items=7,
        call={"num_inference_steps": 1}, **OPTIONS,
    )  # fmt: skip
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29561", "CUDA_VISIBLE_DEVICES": ""}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(tmp_path), *PROMPTS], stderr=subprocess.PIPE, text=True,
            env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    errors = [rank.communicate(timeout=240)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)[-3000:]
    two = Results.load(tmp_path / "two")
    assert [model.groups for model in two.models] == [model.groups for model in one.models]
    assert two.hash == one.hash
    assert len(list(Path(tmp_path / "kept" / "student" / "all").iterdir())) == 7
