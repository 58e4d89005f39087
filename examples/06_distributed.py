"""Several processes or machines: the same script, started by accelerate or torchrun. Nothing in it changes.

    python examples/06_distributed.py                                             # one process
    torchrun --nproc-per-node 2 examples/06_distributed.py                        # two, on a CPU as well
    accelerate launch --multi_gpu --num_processes 8 examples/06_distributed.py    # a GPU for each
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-endpoint HOST:29500 examples/06_distributed.py

`batch` is the total over all processes. What each sample draws (time, noise, swap, condition) depends on the seed and
the sample's number alone, so the processes go through the samples that a single one would. The losses in the log are
those of the first process's share.
"""

import os

import torch
from accelerate import PartialState

from condistill import Teacher, distill, generate

STEPS, OUT = int(os.environ.get("STEPS", "20")), "runs/example-06"

state = PartialState(cpu=not torch.cuda.is_available())
teacher = Teacher.load("emoji", device=state.device)
prompts = ["a rocket on a blue background", "a guitar on a red background"]

with state.main_process_first():  # the first makes D, the others find it finished
    cache = generate(
        teacher,
        prompts,
        out=f"{OUT}/cache",
        call={"num_inference_steps": 4},
        num_items=4,
        progress=state.is_main_process,
    )

result = distill(
    teacher, teacher.student("b-base"), cache, corpus=[*prompts, "a panda on a green background"], steps=STEPS, batch=8,
    out=f"{OUT}/run", progress=state.is_main_process,
)  # fmt: skip
if state.is_main_process:
    losses = [line["loss"] for line in result.log if line["event"] == "step"]
    print(f"{state.num_processes} processes, {result.steps} steps, last loss {losses[-1]:.3f}, {result.folder}/student")
