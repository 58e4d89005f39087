"""The exact world, on which a training step takes a millisecond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from condistill import Cache, Teacher, distill, generate
from condistill.world import exact


@pytest.fixture(scope="module")
def exact_teacher() -> Teacher:
    return Teacher.from_pipeline(exact.pipeline_of(6))


@pytest.fixture(scope="module")
def exact_cache(exact_teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    keys = exact.prompts("seen", num_concepts=6)
    return generate(exact_teacher, keys, out=tmp_path_factory.mktemp("D"), num_items=256, batch=256, progress=False)


def trained(teacher: Teacher, cache: Cache, out: Path, *, steps: int, **options: Any) -> Teacher:
    """A student of the exact teacher, always with the same first weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = teacher.with_network(exact.ExactStudent())
    usual = {"batch": 16, "lr": 1e-3, "loss": {"feature": 0.0}, "p_random": "auto", "log_every": 1, "trackers": "none"}
    found = distill(
        teacher, student, cache, corpus=exact.prompts("all", num_concepts=6), steps=steps, out=out, progress=False,
        **{**usual, **options},
    )  # fmt: skip
    return found.student
