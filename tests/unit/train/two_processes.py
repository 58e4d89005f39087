"""What each of two processes does in test_processes.py: python two_processes.py FOLDER"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from condistill import Cache, Teacher, UserError, distill, generate
from tests import tiny

KEYS = [f"key {k}" for k in range(9)]
CALL = {"num_inference_steps": 2, "guidance_scale": 2.0}
OPTIONS: dict[str, Any] = dict(
    corpus=["x", "y"], batch=8, micro_batch=2, lr=1e-3, log_every=2, checkpoint_every=2, progress=False
)


# what `accelerate launch` says for fsdp_version: 2 and its other defaults
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "BasicTransformerBlock",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}
APART = Path(sys.prefix) / "zero"  # where DeepSpeed lies, apart from everything else: see the Makefile
HAS_DEEPSPEED = (APART / "deepspeed").is_dir() or importlib.util.find_spec("deepspeed") is not None


def made(teacher: Teacher, folder: Path) -> Cache:
    """D in five shards."""
    return generate(teacher, KEYS, out=folder, call=CALL, shard_items=2, batch=1, progress=False)


def trained(teacher: Teacher, cache: Cache, folder: Path, *, steps: int) -> None:
    """A student with projections, trained to `steps` in all."""
    distill(teacher, teacher.student("c-micro", init="random"), cache, out=folder, steps=steps, **OPTIONS)


def classes(folder: Path) -> tuple[Teacher, Cache]:
    """A teacher of few parameters, since the first step in shares takes time with their number, and its D."""
    teacher = Teacher.from_pipeline(tiny.dit())
    call = {"num_inference_steps": 2}
    return teacher, generate(teacher, list(range(8)), out=folder / "D-classes", call=call, progress=False)


def narrowed(teacher: Teacher, cache: Cache, folder: Path, *, steps: int, num: int = 1, **more: Any) -> None:
    """The same of one or more students of `classes`."""
    students = [teacher.student("width=0.5", init="random") for _ in range(num)]
    own = [one.network for one in students]
    result = distill(teacher, students, cache, out=folder, steps=steps, **{**OPTIONS, "corpus": [8, 9], **more})
    # what is given back can be used, also where it was trained in shares
    assert all(type(p) is torch.nn.Parameter for one in result.students for p in one.network.parameters())
    assert result.student.sample([1], call={"num_inference_steps": 1}).latents.isfinite().all()
    if os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3":  # what was trained is nowhere whole
        assert {p.numel() for one in own for p in one.parameters()} == {0}


def skipped(teacher: Teacher, cache: Cache, folder: Path) -> None:
    """A run of two steps whose second is not finite in one process alone."""
    student, calls = teacher.student("width=0.5", init="random"), iter(range(100))

    def once(module: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        return output * (float("nan") if next(calls) == 2 and os.environ["RANK"] == "1" else 1.0)

    student.network.proj_out_2.register_forward_hook(once)
    options = {**OPTIONS, "corpus": [8, 9], "log_every": 1, "skip_not_finite": 1}
    distill(teacher, student, cache, out=folder, steps=2, **options)


def main(folder: Path) -> None:
    """D and a run by both; a run begun by both and one gone on with by both; the same of another student
    of which each holds a share, and of its moments alone; then this process or the other dies."""
    torch.set_num_threads(1)
    teacher = Teacher.from_pipeline(tiny.sd())
    cache = made(teacher, folder / "D2")
    trained(teacher, cache, folder / "two", steps=4)
    trained(teacher, cache, folder / "two-one", steps=2)
    trained(teacher, cache, folder / "one-two", steps=4)
    others = classes(folder)
    skipped(*others, folder / "skipped")
    os.environ.update(FSDP2)
    try:
        narrowed(*others, folder / "refused", steps=4)
    except UserError as error:  # DiT takes its times from within its first block
        assert "set fsdp_auto_wrap_policy: NO_WRAP" in str(error)
    assert not (folder / "refused" / "student").exists()
    os.environ["FSDP_AUTO_WRAP_POLICY"] = "NO_WRAP"
    narrowed(*others, folder / "shares", steps=4)
    narrowed(*others, folder / "shares-one", steps=2)
    narrowed(*others, folder / "one-shares", steps=4)
    # looked at as well: drawn by the first process from what both put together
    looked_at = {"num": 2, "validate_every": 1, "validate_prompts": [1, 8], "ema": 0.5}
    narrowed(*others, folder / "pair", steps=1, **looked_at)
    del os.environ["ACCELERATE_USE_FSDP"]
    if HAS_DEEPSPEED:
        sys.path.append(str(APART))
        os.environ.update(ACCELERATE_USE_DEEPSPEED="true", ACCELERATE_DEEPSPEED_ZERO_STAGE="1")
        narrowed(*others, folder / "zero", steps=4)
        os.environ["ACCELERATE_DEEPSPEED_ZERO_STAGE"] = "2"
        narrowed(*others, folder / "zero-one", steps=2)
        narrowed(*others, folder / "one-zero", steps=4)
        narrowed(*others, folder / "zero-pair", steps=1, **looked_at)
        skipped(*others, folder / "zero-skipped")
        os.environ["ACCELERATE_DEEPSPEED_ZERO_STAGE"] = "3"
        narrowed(*others, folder / "parts", steps=2)
        narrowed(*others, folder / "parts", steps=4)
        narrowed(*others, folder / "parts-one", steps=2)
        narrowed(*others, folder / "one-parts", steps=4)
        narrowed(*others, folder / "parts-pair", steps=1, **looked_at, gradient_checkpointing=True)
        skipped(*others, folder / "parts-skipped")
        del os.environ["ACCELERATE_USE_DEEPSPEED"]
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    trained(teacher, cache, folder / "alone", steps=4)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
