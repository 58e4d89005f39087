"""A recipe whose student keeps the blocks that the teacher misses most, measured on its own D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DiTPipeline

from condistill.recipes.run import Run
from condistill.recipes.schema import checked
from tests.tiny.pipelines import dit


def test_the_student_keeps_the_blocks_that_matter(tmp_path: Path) -> None:
    pipeline = dit()
    with torch.no_grad():  # without its gates block 1 does nothing
        for parameter in pipeline.transformer.transformer_blocks[1].norm1.linear.parameters():
            parameter.zero_()
    pipeline.save_pretrained(tmp_path / "dit")
    wanted: dict[str, Any] = {
        "teacher": str(tmp_path / "dit"),
        "student": {"spec": "depth=0.75+blocks=scored"},
        "data": {"prompts": {"labels": 3}, "call": {"num_inference_steps": 2}},
        "train": {"steps": 1, "batch": 2, "lr": 1e-12, "ema": 0.0},
    }
    run = Run(checked(wanted, name="scored"), tmp_path / "run", progress=False)
    ((name, folder),) = run.train().items()
    student = DiTPipeline.from_pretrained(folder).transformer
    assert student.config.num_layers == 3
    for k, source in enumerate((0, 2, 3)):
        theirs = pipeline.transformer.transformer_blocks[source].attn1.to_q.weight
        torch.testing.assert_close(student.transformer_blocks[k].attn1.to_q.weight, theirs, rtol=0, atol=1e-6)
    again = Run(checked(wanted, name="scored"), tmp_path / "run", progress=False)
    assert again.train() == {name: folder} and again.done_before == [name]
