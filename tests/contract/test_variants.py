"""What people do to a pipeline before they give it: another scheduler, half precision, adapters, a compiled network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from peft import LoraConfig

from condistill import Teacher, UserError
from condistill.errors import Remark
from tests import tiny
from tests.contract import battery
from tests.tiny.catalogue import catalogue

CASES = catalogue()
ZERO_SNR = dict(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
SCHEDULERS: Mapping[str, Mapping[str, Any]] = {
    "DDIMScheduler": ZERO_SNR,
    "EulerDiscreteScheduler": {"use_karras_sigmas": True},
    "HeunDiscreteScheduler": {},
    "KDPM2AncestralDiscreteScheduler": {},
    "DPMSolverMultistepScheduler": {"algorithm_type": "sde-dpmsolver++"},
    "UniPCMultistepScheduler": {},
    "LCMScheduler": {},
    "EDMEulerScheduler": {},
}


def small(pipeline: Any) -> Teacher:
    return Teacher.from_pipeline(pipeline, call={"height": 16, "width": 16})


def asked(teacher: Teacher, b: int = 2) -> torch.Tensor:
    with torch.no_grad():
        return teacher.predict(*battery.at(teacher, b), teacher.encode(["a red fox", "two ships"][:b]))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_scheduler_may_be_put_on_a_pipeline(name: str) -> None:
    pipeline = tiny.sd()
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **SCHEDULERS[name])
    teacher = small(pipeline)
    battery.check_noise_path(teacher)
    assert asked(teacher).isfinite().all()
    call = {"num_inference_steps": 3, "height": 16, "width": 16}
    assert teacher.sample(["a red fox"], seed=0, call=call, output="latent").latents.isfinite().all()


@pytest.mark.parametrize("name", ["flux", "hunyuan-dit", "sdxl-controlnet-img2img", "cogview4-control", "sd"])
def test_pipelines_in_bfloat16_are_recorded_as_they_are_in_float32(name: str) -> None:
    """Times are rounded to half precision by some pipelines, x_t and what is scaled by others."""
    case = CASES[name]
    whole = battery.recorded(case)
    half = Teacher.from_pipeline(case.build().to(torch.bfloat16), case.component, call=case.call())
    found, wanted = half.calibration, whole.calibration
    assert set(found.noisy) == set(wanted.noisy) and set(found.key_paths) == set(wanted.key_paths)
    for path, one in wanted.times.items():
        torch.testing.assert_close(torch.as_tensor(found.times[path].scale), torch.as_tensor(one.scale))
        torch.testing.assert_close(torch.as_tensor(found.times[path].offset), torch.as_tensor(one.offset))


@pytest.mark.parametrize("name", ["dit", "sd3-controlnet", "wan"])
def test_a_student_of_a_teacher_in_bfloat16_trains_and_samples(name: str, tmp_path: Path) -> None:
    """A ControlNet is cut along, an autoencoder in half precision is given what its pipeline made in it, and weights
    that diffusers keeps in float32 (Wan's) do not say what the others compute in."""
    case = CASES[name]
    keys = None if case.keys == CASES["sd"].keys else case.keys
    case.build().save_pretrained(tmp_path / "teacher")
    teacher = Teacher.load(
        tmp_path / "teacher", case.component, call=case.call(), keys=keys, torch_dtype=torch.bfloat16
    )
    student = teacher.student(case.student)
    assert student.plan is not None and student.plan.passes is not None
    cache = battery.made_cache(teacher, case, tmp_path / "D")
    battery.distilled(teacher, student, case, cache, tmp_path / "run", steps=1)
    found = student.sample(case.keys[:1], seed=0, call={"num_inference_steps": 2, **case.call()})
    assert found.images is not None and found.latents.isfinite().all()
    assert student.network.dtype == torch.float32  # type: ignore[union-attr]
    if teacher.calibration.links:
        with pytest.raises(UserError, match="under controlnet, which gives it what is as wide as the teacher"):
            teacher.student("width=0.5")


def test_embeddings_are_keys_in_the_shape_in_which_a_pipeline_takes_them() -> None:
    """A list of one tensor a prompt, of any length; beside a text of the pipeline's own, which then is left out."""
    case = CASES["z-image"]
    pipeline = case.build()
    with torch.no_grad():
        rows = [pipeline.encode_prompt(text, do_classifier_free_guidance=False)[0] for text in case.keys]
    keys = [{"prompt_embeds": row} for row in rows]
    teacher = Teacher.from_pipeline(pipeline, call={**case.call(), "guidance_scale": 0.0}, keys=keys)
    found = teacher.encode(keys[:2]).leaves["cap_feats"]
    assert len(found[0]) != len(found[1]) and all(torch.equal(found[k], rows[k][0]) for k in range(2))

    case, pipeline = CASES["pixart-sigma"], CASES["pixart-sigma"].build()
    names = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")
    with torch.no_grad():
        keys = [dict(zip(names, pipeline.encode_prompt(text), strict=True)) for text in case.keys]
    teacher = Teacher.from_pipeline(pipeline, call=case.call(), keys=keys)
    assert torch.equal(teacher.encode(keys[:1]).leaves["encoder_hidden_states"], keys[0]["prompt_embeds"])


def test_a_unet_that_attends_to_itself_is_narrowed_there_as_well() -> None:
    student = battery.recorded(CASES["audioldm"]).student("width=0.5")
    config = dict(student.network.config)  # type: ignore[arg-type]
    assert list(config["cross_attention_dim"]) == list(config["block_out_channels"]) == [8, 16]


@pytest.mark.parametrize(("name", "why"), [("sd-sag", "AttributeError"), ("sd-pag", "ValueError: Cannot find PAG")])
def test_a_student_that_its_pipeline_cannot_call_is_refused(name: str, why: str) -> None:
    """Both guidances, of which a recording leaves out the second, look into the mid block before the first step."""
    teacher = battery.recorded(CASES[name])
    student = teacher.student("b-base")
    before = [type(one) for one in student.network.attn_processors.values()]  # type: ignore[union-attr, operator]
    assert before == [type(one) for one in teacher.network.attn_processors.values()][: len(before)]  # type: ignore
    with pytest.raises(UserError, match=rf"cannot call the student that b-small makes \({why}"):
        teacher.student("b-small")


def test_latents_that_half_precision_cannot_hold_are_kept_in_float32(tmp_path: Path) -> None:
    case, pipeline = CASES["if"], CASES["if"].build()
    pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, use_karras_sigmas=True
    )
    teacher = Teacher.from_pipeline(pipeline, call=case.call())
    with pytest.warns(Remark, match=r"more than float16 holds; shard-00000.safetensors is kept in float32"):
        x0 = battery.made_cache(teacher, case, tmp_path / "D").read([0, 1]).x0
    assert x0.isfinite().all() and x0.abs().max() > torch.finfo(torch.float16).max


@pytest.mark.parametrize("fused", [False, True])
def test_a_student_inherits_what_adapters_have_made_of_its_teacher(fused: bool) -> None:
    pipeline = tiny.sd()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lora = LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, target_modules=["to_q", "to_v", "conv1"])
        pipeline.unet.add_adapter(lora)
    if fused:
        pipeline.fuse_lora(lora_scale=0.5)
    teacher, plain = small(pipeline), small(tiny.sd())
    student = teacher.student("depth=1.0")
    assert not any("lora" in name for name in student.network.state_dict())
    battery.assert_close(asked(student), asked(teacher))
    assert (asked(teacher) - asked(plain)).abs().max() > 10 * battery.CLOSE * asked(plain).abs().max()
    assert teacher.student("depth=0.5").plan is not None


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_network_is_watched_as_it_was(in_place: bool) -> None:
    pipeline = tiny.sd()
    if in_place:
        pipeline.unet.compile(backend="eager")
    else:
        pipeline.unet = torch.compile(pipeline.unet, backend="eager")
    assert torch.equal(asked(small(pipeline)), asked(small(tiny.sd())))
    assert hasattr(pipeline.unet, "_orig_mod") or in_place  # it is the user's as before


def test_a_list_stands_for_the_tuple_that_a_pipeline_wants() -> None:
    call = {"height": 16, "width": 16, "original_size": [64, 32], "num_inference_steps": 2}
    teacher = Teacher.from_pipeline(tiny.sdxl(), call=call)
    assert teacher.calibration.bound["added_cond_kwargs.time_ids"].tolist()[:2] == [64.0, 32.0]
    assert teacher.sample(["a red fox"], seed=0, call=call).latents.isfinite().all()


def test_what_cannot_be_a_teacher_says_so() -> None:
    with pytest.raises(UserError, match="num_images_per_prompt=2 makes several samples of one key"):
        Teacher.from_pipeline(tiny.sd(), call={"num_images_per_prompt": 2})
    offloaded = tiny.sd()
    offloaded.enable_sequential_cpu_offload(device="cpu")
    with pytest.raises(UserError, match="are offloaded"):
        Teacher.from_pipeline(offloaded)
