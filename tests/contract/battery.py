"""What every pipeline of the catalogue is put through, one function a claim."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condistill import Teacher, distill, generate
from condistill.cache import Cache
from condistill.teacher.keys import key_arguments, parameters_of
from condistill.teacher.oracle import confirmed
from condistill.train.log import Log
from tests.tiny.case import PROMPTS, Case

# of the largest value; on a batch of another size summation order differs, and deep random networks amplify it
CLOSE = 2e-3


def assert_close(a: Tensor, b: Tensor) -> None:
    """Nothing, if two predictions differ by no more than rounding does."""
    assert a.shape == b.shape
    assert (a - b).abs().max() <= CLOSE * b.abs().max(), f"{(a - b).abs().max():.2g} of {b.abs().max():.2g}"


def recorded(case: Case) -> Teacher:
    """The case's pipeline as a teacher."""
    own = None if case.keys == PROMPTS else case.keys
    return Teacher.from_pipeline(case.build(), case.component, call=case.call() or None, keys=own)


def at(teacher: Teacher, b: int) -> tuple[Tensor, Tensor]:
    """x_t and times for b samples."""
    drawn = torch.Generator().manual_seed(5)
    return torch.randn(b, *teacher.latent_shape, generator=drawn), teacher.noise_path.times(torch.linspace(0.2, 0.9, b))


@torch.no_grad()
def check_batch_equals_singles(teacher: Teacher, case: Case) -> None:
    """Two keys at once give what each gives alone, and so do their predictions."""
    keys = list(case.keys[:2])
    whole, (x_t, t) = teacher.encode(keys), at(teacher, 2)
    together = teacher.predict(x_t, t, whole)
    for k, key in enumerate(keys):
        single = teacher.encode([key])
        for path, rows in single.leaves.items():
            value = whole.leaves[path][k][tuple(slice(0, size) for size in rows[0].shape)]
            torch.testing.assert_close(value, rows[0], rtol=1e-3, atol=1e-4)
        assert_close(together[k : k + 1], teacher.predict(x_t[k : k + 1], t[k : k + 1], single))


@torch.no_grad()
def check_swap(teacher: Teacher, case: Case) -> None:
    """Another key changes the prediction of its own row, and nothing that is bound."""
    a, b, c = case.keys
    before, after = teacher.encode([a, b]), teacher.encode([a, c])
    for path, rows in before.bound.items():
        assert torch.equal(rows, after.bound[path]), f"bound {path} changed with the key"
    x_t, t = at(teacher, 2)
    first, second = teacher.predict(x_t, t, before), teacher.predict(x_t, t, after)
    assert_close(first[:1], second[:1])
    assert not torch.allclose(first[1:], second[1:], rtol=1e-4, atol=1e-6), "another key changes nothing"


def check_noise_path(teacher: Teacher) -> None:
    """At every timestep x_t is what the pipeline's own scheduler makes of x0 and eps, as its denoiser is given it."""
    own, path, found = copy.deepcopy(teacher.scheduler), teacher.noise_path, teacher.calibration
    if found.observed is not None:  # not the scheduler's: then the pipeline has to be led to x0 along it
        keys = found.keys[: 1 if found.runner.single else 2]
        again = confirmed(found.observed, found.runner, keys, found.view, found.noisy, counts=(5,))
        assert again == found.observed
        return
    if not hasattr(own, "scale_noise") and not hasattr(own, "add_noise"):
        return  # a sampler that adds no noise itself has nothing to compare with
    times = _every_time(own)
    drawn = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(1, 2, 2, 2, generator=drawn) for _ in range(2))
    if own.config.get("invert_sigmas"):
        # diffusers' scale_noise does not know the inverted direction; its loop starts from noise at its first time
        assert torch.equal(path.add_noise(x0, eps, times[:1]), eps) and path.u(times[:1]) == 1.0
        return
    if path.describe()["kind"] == "vp":
        # a sampler that interpolates between whole steps has times that training does not draw
        times = times[times == times.round()]
    mix = getattr(own, "scale_noise", None)
    wanted = []
    for t in times:
        own._step_index = None
        noised = mix(x0, t.reshape(1), eps) if mix else own.add_noise(x0, eps, t.reshape(1))
        own._step_index = None
        wanted.append(own.scale_model_input(noised, t) if hasattr(own, "scale_model_input") else noised)
    n = len(times)
    found = path.add_noise(x0.repeat(n, 1, 1, 1), eps.repeat(n, 1, 1, 1), times)
    # UniPC rounds the times of its sigmas to whole ones: one in a thousand
    torch.testing.assert_close(found, torch.cat(wanted).float(), rtol=5e-3, atol=5e-3)


def _every_time(scheduler: Any) -> Tensor:
    """All of the scheduler's training times, and of one whose noise depends on its steps as many steps."""
    num_times = int(scheduler.config.get("num_train_timesteps", 1000))
    if hasattr(scheduler, "alphas_cumprod") and not hasattr(scheduler, "sigmas"):
        return torch.arange(num_times)
    shift = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    # shifted by an offset, the last of as many steps would lie past the last time
    scheduler.set_timesteps(num_times - int(scheduler.config.get("steps_offset", 0)), **shift)
    return scheduler.timesteps


def made_cache(teacher: Teacher, case: Case, folder: Path) -> Cache:
    """D of two items, three steps each."""
    steps = {"num_inference_steps": 3} if "num_inference_steps" in parameters_of(teacher.pipeline) else {}
    return generate(teacher, list(case.keys[:2]), out=folder, call={**steps, **case.call()}, progress=False)


def distilled(teacher: Teacher, students: Any, case: Case, cache: Cache, folder: Path, *, steps: int = 2) -> Any:
    """A short distillation in `folder`, half of the conditions swapped."""
    return distill(
        teacher, students, cache, corpus=list(case.keys), p_random=0.5, steps=steps, batch=2, out=folder, log_every=1,
        progress=False,
    )  # fmt: skip


def check_distillation(teacher: Teacher, student: Teacher, case: Case, cache: Cache, folder: Path) -> Path:
    """Two steps change the student's weights and no others; the folder of the saved pipeline.

    The student that is the teacher takes part, and its losses are exactly 0 before the first update.
    """
    before = {name: value.clone() for name, value in student.network.state_dict().items()}
    frozen = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    result = distilled(teacher, [student, teacher.student("depth=1.0")], case, cache, folder)
    rows = [row for row in result.log if row.get("event") == "step"]
    assert len(rows) == 2 and all(row["loss"] > 0 for row in rows)
    terms = next(row["terms"] for row in Log(folder / "log-1.jsonl").rows() if "terms" in row)
    assert all(value == 0.0 for value in terms.values()), f"losses of the identity: {terms}"
    after = result.student.network.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    still = teacher.network.state_dict()
    assert all(torch.equal(value, still[name]) for name, value in frozen.items())
    return folder / "students" / "0"


class OtherProcess:
    """A process that has diffusers and not condistill; it loads pipeline folders and samples them."""

    CODE = """
import pickle, sys, warnings
sys.modules["condistill"] = None
warnings.simplefilter("ignore")
from diffusers import DiffusionPipeline
import tests.tiny.guardrail
for line in sys.stdin:
    folder, call = line.rstrip("\\n").split("\\t")
    try:
        with open(call, "rb") as file:
            arguments = pickle.load(file)
        pipeline = DiffusionPipeline.from_pretrained(folder)
        pipeline.set_progress_bar_config(disable=True)
        pipeline(**arguments)
        print("sampled", flush=True)
    except BaseException as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)
"""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip

    def sample(self, folder: Path, arguments: Mapping[str, Any]) -> str:
        """ "sampled", or what was raised."""
        call = folder.parent / "call.pickle"
        call.write_bytes(pickle.dumps(dict(arguments)))
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{folder}\t{call}\n")
        self._process.stdin.flush()
        found = ""
        while not found.startswith("sampled") and ":" not in found:
            found = self._process.stdout.readline().strip()
        return found

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def plain_arguments(case: Case, teacher: Teacher) -> dict[str, Any]:
    """The pipeline's own arguments for one key, as a user of diffusers alone would give them."""
    parameters = parameters_of(teacher.pipeline)
    steps: dict[str, Any] = {"num_inference_steps": 2} if "num_inference_steps" in parameters else {}
    if "generator" in parameters:  # some pipelines cannot do without
        steps["generator"] = torch.Generator().manual_seed(0)
    key = key_arguments(teacher.pipeline, [case.keys[0]], single=isinstance(case.keys[0], str))
    return {**steps, **case.call(), **key}
