"""Pipelines that somebody has had their hands on: half precision, FreeU, processors, adapters, caches, own networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from torch import nn

from condistill import Teacher, UserError, generate
from condistill.errors import Remark
from tests import tiny
from tests.contract import battery
from tests.contract.test_variants import asked, small
from tests.tiny.catalogue import catalogue

SIZE: dict[str, Any] = {"height": 16, "width": 16}
STEPS = {**SIZE, "num_inference_steps": 2}


def test_a_student_works_inside_a_pipeline_of_half_precision(tmp_path: Path) -> None:
    pipeline = tiny.sd().to(torch.bfloat16)
    student = small(pipeline).student("depth=0.5")
    assert next(student.network.parameters()).dtype == torch.float32
    assert student.sample(["a fox"], seed=0, call=STEPS).latents.isfinite().all()
    assert student.pipeline("a fox", **STEPS, output_type="latent").images.dtype == torch.bfloat16
    student.save(tmp_path / "saved")
    loaded = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "saved")
    assert {part.dtype for part in (loaded.unet, loaded.text_encoder, loaded.vae)} == {torch.float32}
    assert loaded("a fox", **STEPS, output_type="latent").images.isfinite().all()


class Louder:
    """A processor of a user's own."""

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return 1.7 * AttnProcessor()(*args, **kwargs)


def test_what_was_set_on_a_network_after_it_was_made_is_on_its_student_too() -> None:
    pipeline = tiny.sd()
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    pipeline.unet.set_attn_processor(Louder())
    teacher = small(pipeline)
    with pytest.warns(Remark, match="were set after it was made"):
        student = teacher.student("depth=1.0")
    battery.assert_close(asked(student), asked(teacher))
    block: Any = student.network.get_submodule("up_blocks.1")
    assert block.s1 == 0.9 and isinstance(block.attentions[0].transformer_blocks[0].attn1.processor, Louder)


def test_a_module_of_another_class_has_no_counterpart_in_a_student() -> None:
    pipeline = tiny.sd()
    pipeline.unet.mid_block.resnets[0].nonlinearity = nn.Tanh()
    with pytest.raises(UserError, match=r"mid_block.resnets.0.nonlinearity is Tanh where its config makes SiLU"):
        small(pipeline).student("depth=1.0")


def test_adapters_count_as_the_call_weighs_them() -> None:
    pipeline = tiny.sd()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    teacher = Teacher.from_pipeline(pipeline, call={**SIZE, "cross_attention_kwargs": {"scale": 0.5}})
    student = teacher.student("depth=1.0")
    battery.assert_close(asked(student), asked(teacher))
    pipeline.unet.set_adapters(["default"], [0.0])
    assert not torch.allclose(asked(student), asked(teacher), rtol=1e-2)


def test_a_text_encoders_adapters_are_merged_in_what_is_saved(tmp_path: Path) -> None:
    pipeline = tiny.sd()
    encoder = pipeline.text_encoder
    encoder.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["q_proj"]))
    teacher = small(pipeline)
    teacher.save(tmp_path)
    loaded = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    battery.assert_close(asked(small(loaded)), asked(teacher))
    assert any("lora" in name for name in encoder.state_dict())  # the user's is as it was


def test_an_attention_processor_with_weights_is_refused_by_a_student() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return self.scale * AttnProcessor()(*args, **kwargs)

    pipeline = tiny.sd()
    pipeline.unet.set_attn_processor(Weighted())
    with pytest.raises(UserError, match="has weights of its own"):
        small(pipeline).student("depth=0.5")


def test_a_network_that_reuses_earlier_answers_is_refused() -> None:
    pipeline = catalogue()["flux"].build()
    pipeline.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=0.2))
    with pytest.raises(UserError, match=r"call pipe.transformer.disable_cache"):
        Teacher.from_pipeline(pipeline)


@pytest.mark.parametrize("kept", [torch.float8_e4m3fn, torch.float16])
def test_weights_that_are_only_kept_in_few_bits_are_computed_with_in_more(kept: torch.dtype) -> None:
    pipeline = tiny.sd()
    pipeline.unet.enable_layerwise_casting(storage_dtype=kept, compute_dtype=torch.float32)
    assert asked(small(pipeline)).isfinite().all()


def test_calls_that_fit_no_recording_are_refused_in_a_line(tmp_path: Path) -> None:
    teacher = small(tiny.sd())
    with pytest.raises(UserError, match="cannot say callback_on_step_end"):
        generate(
            teacher,
            ["a"],
            out=tmp_path / "D",
            call={**STEPS, "callback_on_step_end": lambda pipe, step, t, given: given},
        )
    with pytest.raises(UserError, match=r"could not be run with example keys .*batch size 2"):
        teacher.with_call({**SIZE, "negative_prompt": ["bad", "bad"]})


class Painter(nn.Module):
    """A denoiser of a user's own, without a config."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.by_words = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, 4)

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
        words = self.by_words(encoder_hidden_states.mean(1))[:, :, None, None]
        return (self.layer(sample) + words * timestep.float().mean() / 1000,)


class Own(diffusers.DiffusionPipeline):
    """A pipeline of a user's own."""

    def __init__(self, painter: Any, scheduler: Any, text_encoder: Any, tokenizer: Any):
        super().__init__()
        self.register_modules(painter=painter, scheduler=scheduler, text_encoder=text_encoder, tokenizer=tokenizer)

    @torch.no_grad()
    def __call__(self, prompt: Any, num_inference_steps: int = 10, generator: Any = None) -> Any:
        texts = [prompt] if isinstance(prompt, str) else prompt
        ids = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        words = self.text_encoder(ids)[0]
        drawn = generator if isinstance(generator, list) else [generator] * len(texts)
        x = torch.cat([torch.randn(1, 4, 8, 8, generator=one) for one in drawn])
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps:
            x = self.scheduler.step(self.painter(x, t.expand(len(x)), words)[0], t, x).prev_sample
        return diffusers.ImagePipelineOutput(images=x.permute(0, 2, 3, 1).numpy())


def test_a_pipeline_of_ones_own_is_a_teacher_and_says_what_its_student_lacks() -> None:
    parts = tiny.sd().components
    pipeline = Own(Painter(), diffusers.DDIMScheduler(), parts["text_encoder"], parts["tokenizer"])
    teacher = Teacher.from_pipeline(pipeline)
    assert teacher.component == "painter" and asked(teacher).isfinite().all()
    assert teacher.sample(["a fox"], seed=0, call={"num_inference_steps": 2}).images is not None
    with pytest.raises(UserError, match="Painter has no config that says how it is built"):
        teacher.student("depth=0.5")


@pytest.mark.parametrize("name", ["stable-audio-3-audio", "bria-fibo"])
def test_a_student_that_was_cut_before_its_pipeline_could_be_called_is_fitted(name: str, tmp_path: Path) -> None:
    """Not at all, or not at the size that it was recorded with."""
    case = catalogue()[name]
    teacher = Teacher.from_pipeline(case.build(), case.component)
    student = teacher.student(case.student)
    assert student.plan is not None and not student.plan.inputs_given
    network, cache = student.network, battery.made_cache(teacher, case, tmp_path / "D")
    result = battery.distilled(teacher, student, case, cache, tmp_path / "run", steps=1)
    assert result.student.network is network and student.is_calibrated and student.plan.inputs_given
    assert student.plan.taps


def test_a_network_that_does_not_run_at_the_recorded_size_says_whose_size_to_give() -> None:
    teacher = Teacher.from_pipeline(catalogue()["latte"].build())
    with pytest.raises(UserError, match=r"does not run at this size .* say the pipeline's own size"):
        asked(teacher)


def test_what_is_no_pipeline_is_no_teacher() -> None:
    with pytest.raises(UserError, match="got str where a diffusers pipeline was wanted"):
        Teacher.from_pipeline("emoji")
