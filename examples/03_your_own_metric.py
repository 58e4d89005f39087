"""A metric of your own, beside the ones that are there: with intervals, on the same prompts and seeds for all models.

    python examples/03_your_own_metric.py        # half a minute on one CPU core; results in runs/example-03

`needs` says what it looks at: "images", "pairs" (teacher's and student's answers on the same noise), "features" of a
backbone, or the world's "judge". From a recipe it is named by its dotted path: `metrics: [my_lab.Sharpness, kd_gap]`.
"""

import os
from dataclasses import dataclass

import numpy as np

from condistill import Teacher, evaluate
from condistill.evaluate.metrics import mean_of

ITEMS, OUT = int(os.environ.get("ITEMS", "8")), "runs/example-03"


@dataclass(frozen=True)
class Sharpness:
    """Mean absolute difference between neighbouring pixels, in grey levels."""

    name: str = "sharpness"
    label: str = "Sharpness"
    unit: str = "grey levels"
    higher_is_better: bool = True
    needs: str = "images"

    def compute(self, material):
        """`material.images` is (n, h, w, 3), 8 bit; `mean_of` adds the bootstrap interval."""
        grey = material.images.astype(np.float64).mean(axis=3)  # (n, h, w)
        steps = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
        return mean_of(steps / 2, len(material), material.seed)


teacher = Teacher.load("emoji")
models = {"teacher": teacher, "b-base": teacher.student("b-base"), "c-base": teacher.student("c-base", init="slice")}
prompts = {
    "seen": ["a rocket on a blue background", "a guitar on a red background"],
    "unseen": ["a panda on a green background", "a fox on a yellow background"],
}
results = evaluate(
    models,
    prompts,
    metrics=[Sharpness(), "concept_accuracy", "kd_gap"],
    num_items={"seen": ITEMS, "unseen": ITEMS},
    call={"num_inference_steps": 12, "guidance_scale": 2.0},
    latency=False,
    out=OUT,
)
for row in results.table():
    print("".join(f"{cell:26}" for cell in row).rstrip())
print(f"samples and the protocol are in {OUT}; nothing was trained: these are the students before distillation")
