"""The Python API of docs/architecture.md, as it is written there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import tiny


def test_the_lines_of_the_contract_run_as_written(tmp_path: Path) -> None:
    from condistill import Teacher, distill, evaluate, generate

    pipeline, keys, folder, run_folder = tiny.sd(), ["a fox", "a house"], tmp_path / "D", tmp_path / "run"
    teacher = Teacher.from_pipeline(pipeline, component=None)
    student = teacher.student("b-base")
    assert type(student) is type(teacher)
    cache = generate(teacher, keys, out=folder, seed=0, call={"num_inference_steps": 2})
    result = distill(
        teacher, student, cache, corpus=["a boat", "the sea"], p_random="exponential", steps=2, batch=2, out=run_folder
    )
    student.save(tmp_path / "student")
    condition = teacher.encode(keys, None)
    x_t, t = torch.randn(2, *teacher.latent_shape), torch.tensor([1, 999])
    assert teacher.predict(x_t, t, condition).shape == x_t.shape
    assert len(teacher.sample(keys, seed=3, call={"num_inference_steps": 2}).latents) == 2
    loaded = Teacher.load(tmp_path / "student", component=None)
    assert loaded.hash == result.student.hash == student.hash
    found = evaluate({"teacher": teacher, "student": loaded}, keys, protocol="plain", call={"num_inference_steps": 2})
    assert found.model("student").groups["all"]["kd_gap"].value > 0
    assert found.model("teacher").groups["all"]["kd_gap"].value == 0


@pytest.mark.parametrize(
    "first",
    [
        "import condistill.distill.step",
        "from condistill.distill import step",
        "from condistill.evaluate import Results",
    ],
)
def test_the_public_functions_do_not_depend_on_import_order(first: str) -> None:
    code = (
        f"{first}\n"
        "import condistill\n"
        "from condistill import corpus, distill, evaluate, generate, report\n"
        "assert all(callable(f) for f in (corpus, distill, evaluate, generate, report))\n"
        "assert list(condistill.corpus(['a', 'b'])) == ['a', 'b']\n"
        "import inspect\n"
        "assert 'p_random' in inspect.signature(distill).parameters\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
