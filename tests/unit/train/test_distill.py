"""The loop: exact resume, EMA, accumulation, several students, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from condistill import Cache, Teacher, UserError, distill, generate
from tests import tiny

KEYS = ["a fox", "a house", "two dogs", "the sea", "a red ship"]
CALL = {"num_inference_steps": 2, "guidance_scale": 2.0}
SMALL: dict[str, Any] = dict(batch=4, lr=1e-3, log_every=1, checkpoint_every=2, progress=False)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.from_pipeline(tiny.sd())


@pytest.fixture(scope="module")
def cache(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    out = tmp_path_factory.mktemp("D")
    return generate(teacher, KEYS, out=out, call=CALL, shard_items=2, progress=False)


def run(teacher: Teacher, cache: Cache, out: Path, *, steps: int = 4, spec: str = "b-base", **changes: Any) -> Any:
    student = teacher.student(spec, init=changes.pop("init", "inherit"))
    return distill(teacher, student, cache, corpus=["x", "y"], steps=steps, out=out, **{**SMALL, **changes})


def weights(result: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in result.student.network.state_dict().items()}


def lines(out: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")} for row in rows]


def test_k_steps_and_k_more_are_2k_steps_bitwise(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    whole = run(teacher, cache, tmp_path / "whole", steps=6, spec="c-micro", init="random")
    run(teacher, cache, tmp_path / "parts", steps=2, spec="c-micro", init="random")
    parts = run(teacher, cache, tmp_path / "parts", steps=6, spec="c-micro", init="random")
    assert whole.steps == parts.steps == 6
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[name]), name
    assert lines(tmp_path / "whole")[1:] == lines(tmp_path / "parts")[1:]


def test_stopped_between_checkpoints_it_loses_no_line(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    run(teacher, cache, tmp_path / "a", steps=6)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    # as after a kill in step 6: the last checkpoint is step 4, the log goes on and ends in half a line
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "step-00000006")
    with open(tmp_path / "b" / "log.jsonl", "a") as file:
        file.write('{"event": "st')
    run(teacher, cache, tmp_path / "b", steps=6)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


def test_a_damaged_checkpoint_is_passed_over(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    whole = weights(run(teacher, cache, tmp_path, steps=6))
    newest = tmp_path / "checkpoints" / "step-00000006" / "0.pupil.safetensors"
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match="step-00000006 is damaged"):
        again = weights(run(teacher, cache, tmp_path, steps=6))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_accumulated_micro_batches_are_the_whole_batch(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    whole, parts = (run(teacher, cache, tmp_path / str(m), steps=2, micro_batch=m) for m in (None, 2))
    a, b = lines(tmp_path / "None")[1:-1], lines(tmp_path / "2")[1:-1]
    for x, y in zip(a, b, strict=True):
        # the same samples, summed in another order
        assert x["loss"] == pytest.approx(y["loss"], rel=1e-4)
        assert x["swap_rate"] == y["swap_rate"]
    assert whole.steps == parts.steps == 2


def test_p_0_is_plain_distillation_bitwise(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    """Whatever C is: with p = 0 no draw reaches it."""
    student = teacher.student("b-base")
    plain = distill(teacher, student, cache, p_random=0, steps=3, out=tmp_path / "plain", **SMALL)
    other = run(teacher, cache, tmp_path / "other", steps=3, p_random="never")
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(plain).items())
    assert all(row["swap_rate"] == 0 for row in plain.log if row["event"] == "step")


def test_p_1_swaps_every_key(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    result = run(teacher, cache, tmp_path, steps=2, p_random=1.0)
    assert [row["swap_rate"] for row in result.log if row["event"] == "step"] == [1.0, 1.0]


def test_what_is_saved_is_the_ema_that_is_returned(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    ema = run(teacher, cache, tmp_path / "ema", steps=4, ema=0.9)
    raw = run(teacher, cache, tmp_path / "raw", steps=4, ema=0.9, save="raw")
    for result in (ema, raw):
        loaded = StableDiffusionPipeline.from_pretrained(result.folder / "student").unet.state_dict()
        assert all(torch.equal(value, loaded[name]) for name, value in weights(result).items())
    assert any(not torch.equal(value, weights(raw)[name]) for name, value in weights(ema).items())


def test_ema_starts_from_the_initialised_student(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    """With decay 1 the average never moves: what is saved is the student as it was built."""
    before = teacher.student("b-base").network.state_dict()
    # EMAModel's decay grows as (1 + step) / (10 + step), so step 1 alone moves it a little
    after = weights(run(teacher, cache, tmp_path, steps=1, lr=1e-12, ema=1.0))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-5, atol=1e-8)


def test_the_log_has_terms_taps_bins_and_swap_rate(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    rows = run(teacher, cache, tmp_path, steps=4, loss={"task": 0.1}).log
    assert [row["event"] for row in rows] == ["start", *["step"] * 4, "end"]
    row = rows[2]
    assert set(row["terms"]) == {"out", "feat", "task"}
    assert row["terms"]["feat"] == pytest.approx(sum(row["taps"].values()), rel=1e-5)
    assert sum(bin["n"] for bin in row["by_time"]) == sum(bin["n"] for bin in row["swap_rate_by_time"]) == 4
    assert row["loss"] == pytest.approx(
        row["terms"]["out"] + row["terms"]["feat"] + 0.1 * row["terms"]["task"], rel=1e-4
    )
    assert row["lr"] == 1e-3 and row["grad_norm"] > 0


def test_several_students_share_the_draws_of_single_ones(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    students = [teacher.student("b-base"), teacher.student("b-small")]
    both = distill(teacher, students, cache, corpus=["x", "y"], steps=3, out=tmp_path / "both", **SMALL)
    single = run(teacher, cache, tmp_path / "single", steps=3)
    assert all(torch.equal(v, weights(single)[n]) for n, v in both.students[0].network.state_dict().items())
    assert (tmp_path / "both" / "students" / "1" / "model_index.json").is_file()
    assert [row["loss"] for row in both.log if row["event"] == "step"] == [
        row["loss"] for row in single.log if row["event"] == "step"
    ]


def test_training_lowers_the_loss(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    rows = run(teacher, cache, tmp_path, steps=40, spec="b-base", lr=3e-3, log_every=10, checkpoint_every=40).log
    losses = [row["loss"] for row in rows if row["event"] == "step"]
    assert losses[-1] < 0.8 * losses[0]


def test_another_recipe_in_the_folder_is_refused(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    run(teacher, cache, tmp_path, steps=2)
    kept = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"p_random\.name: 'exponential' -> 'linear'"):
        run(teacher, cache, tmp_path, steps=4, p_random="linear")
    with pytest.raises(UserError, match=r"train\.lr"):
        run(teacher, cache, tmp_path, steps=4, lr=2e-3)
    assert (tmp_path / "log.jsonl").read_bytes() == kept


def test_cache_of_another_teacher_is_refused(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="made by another teacher"):
        run(Teacher.from_pipeline(tiny.sd(seed=1)), cache, tmp_path)


def test_a_loss_that_is_not_finite_stops_before_the_weights(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    student = teacher.student("b-base")
    with torch.no_grad():
        student.network.down_blocks[1].resnets[0].conv1.weight.fill_(float("nan"))  # type: ignore[index, union-attr]
    untouched = student.network.conv_in.weight.clone()  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"not finite at step 0: term output, timesteps u in \[0\.\d, "):
        distill(teacher, student, cache, steps=2, out=tmp_path, **SMALL)
    assert torch.equal(untouched, student.network.conv_in.weight)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 1.0}, "unknown option of distill 'learning_rate'"),
        ({"steps": 0}, r"train\.steps must be between 1 and 2147483647, got 0"),
        ({"batch": 10**20}, r"train\.batch must be between 1 and 2147483647, got 1000"),
        ({"lr_schedule": "cosin"}, "constant, cosine"),
        ({"micro_batch": 3}, "does not divide"),
        ({"loss": {"outptu": 1.0}}, "did you mean 'output'"),
        ({"p_random": "expnential"}, "did you mean 'exponential'"),
    ],
)
def test_mistakes_are_named(teacher: Teacher, cache: Cache, tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        run(teacher, cache, tmp_path, **changes)
    assert not (tmp_path / "checkpoints").exists()


def test_ctrl_c_keeps_everything(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    def interrupt_once_it_trains() -> None:
        while not (tmp_path / "log.jsonl").exists() or '"step": 2' not in (tmp_path / "log.jsonl").read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_once_it_trains, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(teacher, cache, tmp_path, steps=100_000, checkpoint_every=100_000)
    assert time.monotonic() - start < 60
    done = sorted((tmp_path / "checkpoints").glob("step-*"))
    assert len(done) == 1 and int(done[0].name[5:]) > 0


def test_student_folder_needs_diffusers_alone(teacher: Teacher, cache: Cache, tmp_path: Path) -> None:
    run(teacher, cache, tmp_path, steps=1, spec="b-small")
    code = (
        "import sys; sys.modules['condistill'] = None\n"
        "from diffusers import DiffusionPipeline\n"
        f"p = DiffusionPipeline.from_pretrained({str(tmp_path / 'student')!r})\n"
        "print(p('a fox', num_inference_steps=2, output_type='np').images.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "(1, 16, 16, 3)" in done.stdout, done.stderr[-2000:]
