"""Compiled blocks: which they are, that only speed and last bits change, and what is said where it cannot be."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from condistill import Cache, Teacher, UserError, distill, generate
from condistill.distill.attention import exact_attention
from condistill.train.compiling import AUTO_STEPS, Compiled, blocks, is_compiled, why_not
from condistill.train.log import Log
from condistill.train.options import TrainOptions
from tests import tiny

CPU = torch.device("cpu")
SMALL: dict[str, Any] = dict(
    steps=2, batch=2, lr=1e-3, log_every=1, checkpoint_every=1, progress=False, precision="bf16",
    teacher_precision="bf16",
)  # fmt: skip


class Residual(nn.Module):
    """A block with parts of their own, as those that repeat in a network."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.SiLU())
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x + self.inner(x))


@pytest.fixture
def without_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile up to where kernels are written: what a C++ compiler does to them takes minutes."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.from_pipeline(tiny.dit())


@pytest.fixture(scope="module")
def cache(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return generate(
        teacher, [0, 1, 2], out=tmp_path_factory.mktemp("D"), call={"num_inference_steps": 2}, progress=False
    )


def run(teacher: Teacher, cache: Cache, out: Path, **changes: Any) -> tuple[Any, list[float]]:
    students = [teacher.student("depth=0.5") for _ in range(changes.pop("students", 1))]
    done = distill(teacher, students, cache, out=out, **{**SMALL, **changes})
    name = "log.jsonl" if len(students) == 1 else "log-1.jsonl"
    return done, [row["loss"] for row in Log(out / name).rows() if row["event"] == "step"]


def test_blocks_are_as_large_as_taps_allow() -> None:
    network = Teacher.from_pipeline(tiny.sd()).network
    whole = blocks(network, ["down_blocks.0", "up_blocks.1:1", "mid_block"])
    assert {"down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1"} <= set(whole)
    assert "conv_in" not in whole and "time_embedding" not in whole
    inside = blocks(network, ["down_blocks.0.attentions.0"])
    assert {"down_blocks.0.attentions.0", "down_blocks.0.resnets.0", "down_blocks.1"} & set(inside) == {
        "down_blocks.0.attentions.0", "down_blocks.1"
    }  # fmt: skip
    assert "down_blocks.0" not in inside


def test_a_compiled_block_gives_one_answer_and_leaves_no_trace() -> None:
    """By the real compiler, attention in float32 under autocast inside; bfloat16 has eight bits."""
    network = nn.ModuleDict({"blocks": nn.ModuleList([Residual()])})
    block: Any = network["blocks"][0]  # type: ignore[index]
    names, x = list(network.state_dict()), torch.randn(4, 8)
    compiled = Compiled(network, ["blocks.0"])
    with torch.autocast("cpu", dtype=torch.bfloat16), exact_attention(network, x):
        want = block(x)
        with compiled.running():
            assert list(network.state_dict()) == names
            found = block(x)
    found.float().square().sum().backward()
    assert "forward" not in vars(block) and block.inner[0].weight.grad is not None
    assert float((found - want).abs().max()) < 0.02 * float(want.abs().max())


def test_draws_and_losses_are_those_of_the_plain_run_and_a_stop_changes_no_bit(
    teacher: Teacher, cache: Cache, tmp_path: Path, without_inductor: None
) -> None:
    _, plain = run(teacher, cache, tmp_path / "plain")
    whole, losses = run(teacher, cache, tmp_path / "whole", compile=True)
    assert losses == pytest.approx(plain, rel=1e-2)  # bfloat16
    run(teacher, cache, tmp_path / "parts", compile=True, steps=1)
    parts, _ = run(teacher, cache, tmp_path / "parts", compile=True)
    halves = parts.student.network.state_dict()
    for name, value in whole.student.network.state_dict().items():
        assert torch.equal(value, halves[name]) and "_orig_mod" not in name
    a, b = (Log(tmp_path / name / "log.jsonl").rows()[1]["by_time"] for name in ("plain", "whole"))
    assert [row["n"] for row in a] == [row["n"] for row in b]
    with pytest.raises(UserError, match="compile"):  # it would change the numbers of the run
        run(teacher, cache, tmp_path / "whole", steps=3)


def test_several_students_with_checkpointed_blocks(
    teacher: Teacher, cache: Cache, tmp_path: Path, without_inductor: None
) -> None:
    changes: dict[str, Any] = {"students": 2, "steps": 1, "gradient_checkpointing": True, "micro_batch": 1}
    _, plain = run(teacher, cache, tmp_path / "plain", **changes)
    _, losses = run(teacher, cache, tmp_path / "compiled", **changes, compile=True)
    assert losses == pytest.approx(plain, rel=1e-2)


def test_auto_needs_many_steps_and_goes_on_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.jsonl"
    few, many = (TrainOptions(steps=steps, compile="auto") for steps in (AUTO_STEPS - 1, AUTO_STEPS))
    assert not is_compiled(few, CPU, before=log)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "compile", _broken)
        assert why_not(CPU) == "no working C++ compiler"
        with pytest.warns(UserWarning, match="not compiled"):
            assert not is_compiled(many, CPU, before=log)
        with pytest.raises(UserError, match=r"got train.compile=true.*g\+\+"):
            is_compiled(TrainOptions(steps=1, compile=True), CPU, before=log)
    assert is_compiled(many, CPU, before=log) and why_not(CPU) == ""
    Log(log).write({"event": "start", "step": 0, "train": {"seed": 0}})
    assert not is_compiled(many, CPU, before=log)
    log.unlink()
    Log(log).write({"event": "start", "step": 0, "train": {"compile": True}})
    assert is_compiled(few, CPU, before=log)
    with pytest.raises(UserError, match="true, false or auto"):
        TrainOptions(steps=1, compile="yes")  # type: ignore[arg-type]


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no working C++ compiler\nmore of it")
