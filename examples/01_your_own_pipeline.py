"""A pipeline object of your own as the teacher: what was recorded of it, a student, and plain diffusers loading that.

    python examples/01_your_own_pipeline.py        # about a minute on one CPU core; everything lands in runs/example-01

`pipeline` may be any diffusers pipeline, changed in any way: here the embedded one with another scheduler.
"""

import os

from diffusers import DiffusionPipeline, EulerDiscreteScheduler

from condistill import Teacher, distill, generate
from condistill.world import emoji

STEPS, OUT = int(os.environ.get("STEPS", "100")), "runs/example-01"

pipeline = DiffusionPipeline.from_pretrained(emoji.folder())
pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)

teacher = Teacher.from_pipeline(pipeline)
found = teacher.calibration
print(f"denoiser {teacher.component}, x0 {teacher.latent_shape}, noise {teacher.noise_path.describe()['kind']}")
print(f"a key changes {found.key_paths}, the null key is {teacher.null_key!r}")

prompts = ["a rocket on a blue background", "a guitar on a red background", "a pineapple on a white background"]
unseen = ["a panda on a green background", "a fox on a yellow background"]  # no image is made of these: text alone
call = {"num_inference_steps": 12, "guidance_scale": 2.0}

student = teacher.student("b-base")
parameters = [sum(p.numel() for p in one.network.parameters()) / 1e6 for one in (teacher, student)]
print(f"{parameters[0]:.1f} M parameters -> {parameters[1]:.1f} M")

cache = generate(teacher, prompts, out=f"{OUT}/cache", call=call, num_items=6)
result = distill(
    teacher, student, cache, corpus=prompts + unseen, steps=STEPS, batch=8, lr=1e-3, ema=0.99, out=f"{OUT}/run"
)
print(f"{result.steps} steps, loss {result.log[1]['loss']:.3f} -> {result.log[-2]['loss']:.3f}")

# condistill is not needed from here on
small = DiffusionPipeline.from_pretrained(f"{OUT}/run/student")
small.set_progress_bar_config(disable=True)
small("a panda on a green background", **call).images[0].save(f"{OUT}/panda.png")
print(f"{OUT}/panda.png drawn by {type(small).__name__} with a {type(small.scheduler).__name__}")
