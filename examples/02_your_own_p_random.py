"""A p(t) of your own: any function of u, or a class with parameters that a recipe can name.

    python examples/02_your_own_p_random.py        # seconds on one CPU core; everything lands in runs/example-02

p takes u of any shape, float in [0, 1], 1 = pure noise, and returns probabilities of that shape. From a recipe or the
command line the same is reached by its dotted name, if Python can import it: `p_random=my_lab.Step`, or with
parameters `p_random: {name: my_lab.Step, above: 0.6}`.
"""

import os
from dataclasses import dataclass
from typing import ClassVar

import torch

from condistill import Teacher, distill, generate, p_random

STEPS, OUT = int(os.environ.get("STEPS", "20")), "runs/example-02"


def cosine(u):
    """p(u) = (1 - cos(pi u)) / 2."""
    return (1 - torch.cos(torch.pi * u)) / 2


@dataclass(frozen=True)
class Step:
    """p(u) = 1 where u > above, else 0."""

    name: ClassVar[str] = "step"
    above: float = 0.5

    def __call__(self, u):
        return (u > self.above).to(u.dtype)


grid = torch.linspace(0, 1, 5)
for p in (p_random("exponential"), p_random("sigmoid"), p_random({"name": "tabulated", "values": [0, 0.1, 1]})):
    print(f"{p.name:12}{[round(v, 3) for v in p(grid).tolist()]}")

teacher = Teacher.load("emoji")
prompts = ["a rocket on a blue background", "a guitar on a red background"]
cache = generate(teacher, prompts, out=f"{OUT}/cache", call={"num_inference_steps": 4}, num_items=4)

for name, p in {"cosine": cosine, "step": Step(above=0.6)}.items():
    result = distill(
        teacher, teacher.student("b-base"), cache, corpus=["a panda on a green background"], p_random=p,
        steps=STEPS, batch=8, log_every=STEPS, out=f"{OUT}/{name}",
    )  # fmt: skip
    last = [line for line in result.log if line["event"] == "step"][-1]
    print(f"{name}: {last['swap_rate']:.2f} of the samples were swapped; by noise level, asked for and measured:")
    for one in (one for one in last["swap_rate_by_time"] if one["n"]):
        print(f"  u from {one['low']:.1f}  p {one['p']:.2f}  swapped {one['swapped']:.0f} of {one['n']}")
