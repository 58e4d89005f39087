"""The exact world, whose answers are known in closed form, and a D of it."""

from __future__ import annotations

import pytest

from condistill import Cache, Teacher, generate
from condistill.world import exact


@pytest.fixture(scope="session")
def teacher() -> Teacher:
    return Teacher.from_pipeline(exact.pipeline_of(6))


@pytest.fixture(scope="session")
def cache(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    keys = exact.prompts("all", num_concepts=6)
    return generate(teacher, keys, out=tmp_path_factory.mktemp("D"), num_items=60, batch=60, progress=False)
