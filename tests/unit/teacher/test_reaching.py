"""How a pipeline is brought to call its denoiser where nothing is said: small, without its own rewriting."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from condistill import Teacher
from condistill.teacher.keys import key_arguments
from tests import tiny
from tests.tiny.control_more import CASES as CONTROL
from tests.tiny.dits import CASES
from tests.tiny.images_readers import ideogram

AURA = next(case for case in CASES if case.name == "aura-flow")


def test_large_pictures_are_calibrated_small_until_a_call_says_their_size() -> None:
    """The pipeline makes pictures of 1024 pixels a side by itself: 512 x 512 places of its tiny latent space."""
    teacher = Teacher.from_pipeline(AURA.build())
    assert teacher.calibration.is_small and teacher.latent_shape == (4, 8, 8)
    called = teacher.with_call({"height": 32, "width": 16})
    assert called.latent_shape == (4, 16, 8) and not called.calibration.is_small
    x_t = torch.zeros(1, *called.latent_shape)
    assert called.predict(x_t, torch.tensor([500]), called.encode(["a"])).shape == x_t.shape


class Rewriting(StableDiffusionPipeline):
    """Stable Diffusion whose text encoder adds to the prompts, unless it is told not to."""

    def __call__(self, prompt: Any = None, *, rewrite: bool = True, **call: Any) -> Any:
        """The pictures."""
        return super().__call__(self.text_encoder.generate(prompt) if rewrite else prompt, **call)


def test_prompts_are_not_rewritten() -> None:
    pipeline = tiny.sd()
    pipeline.text_encoder.generate = lambda prompts: [f"{one} of {len(prompts)}" for one in prompts]
    pipeline.__class__ = Rewriting
    teacher = Teacher.from_pipeline(pipeline)
    # D is made without as well
    assert teacher.calibration.call["rewrite"] is False and "rewrite" in teacher.calibration.placeholders


class Remembering(StableDiffusionPipeline):
    """Stable Diffusion that hands its denoiser a number of its own in each step, unless it is told not to."""

    def __call__(self, prompt: Any = None, *, count: bool = True, **call: Any) -> Any:
        """The pictures."""
        real, steps = self.unet.forward, iter(range(1000))

        def forward(*args: Any, **kwargs: Any) -> Any:
            kwargs["cross_attention_kwargs"] = {"step": next(steps) ** 2} if count else None
            return real(*args, **kwargs)

        self.unet.forward = forward
        try:
            return super().__call__(prompt, **call)
        finally:
            self.unet.forward = real


def test_what_changes_from_step_to_step_is_switched_off_where_it_can_be() -> None:
    pipeline = tiny.sd()
    pipeline.__class__ = Remembering
    teacher = Teacher.from_pipeline(pipeline)
    assert teacher.calibration.call["count"] is False and "count" in teacher.calibration.placeholders


class Forgetful(StableDiffusionPipeline):
    """Stable Diffusion that has no answer where it is asked for latents."""

    def __call__(self, prompt: Any = None, *, output_type: str = "pil", **call: Any) -> Any:
        """The pictures."""
        found = super().__call__(prompt, output_type=output_type, **call)
        if output_type != "latent":
            pictures = found
        return pictures


def test_latents_are_had_from_a_pipeline_that_forgets_to_answer() -> None:
    pipeline = tiny.sd()
    pipeline.__class__ = Forgetful
    teacher = Teacher.from_pipeline(pipeline)
    assert teacher.sample(["a"], call={"num_inference_steps": 2}, output="latent").latents.shape == (1, 4, 8, 8)


class Twofold:
    """A pipeline with two prompts and none that is called so."""

    def __call__(self, task_prompt: Any = None, content_prompt: Any = None, num_images_per_prompt: int = 1) -> None:
        """Nothing."""


def test_a_text_is_every_prompt_where_none_is_the_prompt() -> None:
    said = {"task_prompt": ["a", "b"], "content_prompt": ["a", "b"]}
    assert key_arguments(Twofold(), ["a", "b"]) == said
    assert key_arguments(Twofold(), ["a"], single=True) == {"task_prompt": "a", "content_prompt": "a"}


def test_a_picture_that_two_items_share_otherwise_than_one_has_it_is_given_one_at_a_time() -> None:
    """An SDXL U-Net adds an adapter's last features where they have the shape of its own, so for one item only."""
    case = next(case for case in CONTROL if case.name == "sdxl-adapter")
    found = Teacher.from_pipeline(case.build(), call=case.call()).calibration
    assert found.runner.single and "down_intrablock_additional_residuals.3" in found.bound


def test_a_pipeline_that_takes_its_own_number_of_steps_alone_is_watched_with_it() -> None:
    call = {"height": 16, "width": 16, "max_sequence_length": 128}  # its guidance has an entry for each of 48 steps
    teacher = Teacher.from_pipeline(ideogram(), "transformer", call=call)
    assert dict(teacher.calibration.call) == call
    assert teacher.calibration.time_range is None  # the other network answers beside it, not in turns
