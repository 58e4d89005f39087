"""Stop and go on: a run that was interrupted ends with the same weights as one that was not, bit for bit on a CPU.

    python examples/05_resume.py        # half a minute on one CPU core; everything lands in runs/example-05

Nothing has to be asked for: the same call goes on from the newest checkpoint, and returns at once when all is done.
"""

import os

import torch

from condistill import Teacher, UserError, distill, generate

STEPS, OUT = int(os.environ.get("STEPS", "20")), "runs/example-05"

teacher = Teacher.load("emoji")
prompts = ["a rocket on a blue background", "a guitar on a red background"]
cache = generate(teacher, prompts, out=f"{OUT}/cache", call={"num_inference_steps": 4}, num_items=4)


def run(folder, steps, **changes):
    settings = {"corpus": prompts, "p_random": "sigmoid", "batch": 4, "lr": 1e-3, **changes}
    return distill(teacher, teacher.student("b-base"), cache, steps=steps, out=f"{OUT}/{folder}", **settings)


whole = run("whole", STEPS)
run("parts", STEPS // 2)  # as if it had been stopped here
parts = run("parts", STEPS)

pairs = zip(whole.student.network.parameters(), parts.student.network.parameters(), strict=True)
print(f"{parts.steps} steps in two parts; equal weights: {all(torch.equal(a, b) for a, b in pairs)}")

again = run("parts", STEPS)
print(f"started once more: {again.steps} steps, nothing left to do")

try:
    run("parts", STEPS, lr=2e-3)
except UserError as error:
    print(f"another learning rate in the same folder is refused: {error}")
