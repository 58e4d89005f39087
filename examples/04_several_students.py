"""Several students at once: one pass of the teacher serves them all.

python examples/04_several_students.py        # half a minute on one CPU core; everything lands in runs/example-04
"""

import os

from condistill import Teacher, distill, evaluate, generate

STEPS, OUT = int(os.environ.get("STEPS", "40")), "runs/example-04"

teacher = Teacher.load("emoji")
prompts = ["a rocket on a blue background", "a guitar on a red background", "a pineapple on a white background"]
unseen = ["a panda on a green background", "a fox on a yellow background"]
call = {"num_inference_steps": 6, "guidance_scale": 2.0}
cache = generate(teacher, prompts, out=f"{OUT}/cache", call=call, num_items=6)

students = {
    "b-base": teacher.student("b-base"),
    "width=0.75": teacher.student("width=0.75", init="slice"),
}
result = distill(
    teacher, list(students.values()), cache, corpus=prompts + unseen, steps=STEPS, batch=8, lr=1e-3, ema=0.99,
    out=f"{OUT}/run",
)  # fmt: skip
print(f"{len(result.students)} students in {result.folder}/students, a log for each")

models = {"teacher": teacher, **dict(zip(students, result.students, strict=True))}
results = evaluate(models, unseen, protocol="plain", metrics=["kd_gap"], num_items=2, call=call, latency=False)
for model in results.models:
    gap = model.groups["all"]["kd_gap"]
    print(f"{model.name:12}{model.parameters / 1e6:6.1f} M   kd gap {gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}]")
