"""What goes wrong in training: memory, numbers, disks, and somebody else in the folder."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from condistill import Cache, Teacher, UserError
from condistill.files import sweep, write_atomic
from condistill.lock import NAME, Lock, alone
from condistill.memory import advising
from condistill.train import loop
from condistill.train.state import load_newest, save_checkpoint, steps_saved
from tests.unit.train.conftest import trained

ALONE = "CONDISTILL_TEST_ALONE"


def rows(out: Path, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row for row in found if row["event"] == event]


@contextlib.contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    """A block in which this process may have no more of something than `value`."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def address_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited by way of Linux")
def test_out_of_memory_names_the_setting_or_halves_the_micro_batch(
    exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path
) -> None:
    if ALONE not in os.environ:
        # memory that other tests have given back to malloc is there whatever the limit: a process of its own
        this = f"{__file__}::test_out_of_memory_names_the_setting_or_halves_the_micro_batch"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", this]
        said = subprocess.run(command, env={**os.environ, ALONE: "1"}, capture_output=True, text=True)
        assert said.returncode == 0, said.stdout[-3000:]
        return
    options: dict[str, Any] = {"steps": 1, "batch": 2**14, "p_random": 0.5}
    whole = trained(exact_teacher, exact_cache, tmp_path / "whole", micro_batch=2**10, **options)
    with limited(resource.RLIMIT_AS, address_bytes() + 22 * 2**20):
        with pytest.raises(
            UserError, match=r"out of memory at step 0 with 16384 .*set train\.micro_batch=8192, or let"
        ):
            trained(exact_teacher, exact_cache, tmp_path / "full", **options)
        parts = trained(exact_teacher, exact_cache, tmp_path / "auto", auto_batch=True, **options)
    first = rows(tmp_path / "auto", "micro_batch")[0]
    assert (first["step"], first["from"], first["to"]) == (1, 2**14, 2**13)
    for one, other in zip(rows(tmp_path / "whole", "step"), rows(tmp_path / "auto", "step"), strict=True):
        # the same draws, summed in another order
        assert one["swap_rate"] == other["swap_rate"] and one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(value, parts.network.state_dict()[name], rtol=1e-2, atol=1e-4)


def test_running_out_elsewhere_is_one_line() -> None:
    with (
        pytest.raises(UserError, match=r"out of memory; nothing finished is lost: set data\.batch"),
        advising("set data.batch"),
    ):
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="something else"), advising("x"):
        raise RuntimeError("something else")


@pytest.mark.parametrize("budget", [0, 1])
def test_a_step_that_is_not_finite_stops_the_run_or_is_skipped(
    exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    """The gradient alone is not finite: the loss of that step says nothing."""
    rate, hooks = loop.learning_rate, []

    def learning_rate(at: int, options: Any) -> float:
        for hook in hooks:
            hook.remove()
        hooks.clear()
        if at == 2:
            weight = next(iter(seen[0].parameters()))
            hooks.append(weight.register_hook(lambda gradient: gradient * float("inf")))
        return rate(at, options)

    seen: list[Any] = []
    monkeypatch.setattr(loop, "set_learning_rate", lambda optimizer, value: None)
    bare = loop.bare
    monkeypatch.setattr(loop, "bare", lambda pupil: seen.append(bare(pupil)) or bare(pupil))
    monkeypatch.setattr(loop, "learning_rate", learning_rate)
    options: dict[str, Any] = {"steps": 5, "skip_not_finite": budget, "checkpoint_every": 2}
    if budget == 0:
        with pytest.raises(UserError, match=r"not finite at step 2: its gradient; the last checkpoint is kept"):
            trained(exact_teacher, exact_cache, tmp_path, **options)
        assert steps_saved(tmp_path / "checkpoints") == [2]
        return
    student = trained(exact_teacher, exact_cache, tmp_path, **options)
    assert [row["step"] for row in rows(tmp_path, "skip")] == [3]
    assert [row["step"] for row in rows(tmp_path, "step")] == [1, 2, 4, 5]
    assert all(bool(torch.isfinite(value).all()) for value in student.network.state_dict().values())
    found = load_newest(tmp_path / "checkpoints")
    assert found is not None and found.counts["skipped"] == 1


def test_a_full_disk_costs_only_the_checkpoint_that_did_not_fit(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's: the system refuses the write in the same place."""
    save_checkpoint(tmp_path, 1, {"part": {"x": torch.zeros(10)}}, settings={}, seconds=0.0, keep=1)
    with limited(resource.RLIMIT_FSIZE, 100_000), pytest.raises(UserError, match="no space left on the disk"):
        save_checkpoint(tmp_path, 2, {"part": {"x": torch.zeros(100_000)}}, settings={}, seconds=0.0, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    found = load_newest(tmp_path)
    assert found is not None and found.step == 1


def test_two_in_one_folder(exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path) -> None:
    code = (
        "import sys, time; from condistill.lock import alone\n"
        f"with alone({str(tmp_path)!r}): print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        with pytest.raises(UserError, match=rf"is in use: process {other.pid} on .* is at work in it .*choose another"):
            trained(exact_teacher, exact_cache, tmp_path, steps=1)
    finally:
        other.kill()
        other.wait()
    assert (tmp_path / NAME).exists()  # left behind, and known to be
    trained(exact_teacher, exact_cache, tmp_path, steps=1)
    with alone(tmp_path), alone(tmp_path):
        assert not Lock(tmp_path / NAME).take()
    assert not (tmp_path / NAME).exists()


def test_what_a_killed_process_was_writing_is_swept_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys; from condistill.files import atomic\n"
        f"with atomic({str(tmp_path / 'a')!r}) as part: part.write_text('half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (tmp_path / ".mine.part").touch()
    write_atomic(tmp_path / "b", "whole")
    assert len(list(tmp_path.iterdir())) == 3 and sweep(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.part", "b"]
