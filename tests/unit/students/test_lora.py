"""A teacher's LoRA on its student: the adapters that stay do to the student what they did to the teacher."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils.save_and_load import get_peft_model_state_dict
from torch import Tensor

from condistill.errors import UserError
from condistill.files import save_tensors
from condistill.students import StudentPlan, build, make_plan
from condistill.students.inherit import taken
from condistill.students.lora import WEIGHTS, carry_lora, lora_file, read_lora
from tests.tiny.pipelines import dit, sd
from tests.unit.students.test_depth import NETWORKS
from tests.unit.students.test_inherit import network, output
from tests.unit.students.test_planning import stages

TARGETS = ["to_q", "to_v", "to_out.0", "conv1", "proj_in"]


def adapted(net: Any, **options: Any) -> dict[str, Tensor]:
    """Gives the network random adapters and returns them by peft's names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net.add_adapter(LoraConfig(**{"r": 3, "lora_alpha": 3, "target_modules": TARGETS, **options}))
        state = get_peft_model_state_dict(net, adapter_name="default")
        for name in state:
            torch.nn.init.normal_(net.get_parameter(name.replace(".weight", ".default.weight")), std=0.3)
        return {name: tensor.clone() for name, tensor in get_peft_model_state_dict(net, adapter_name="default").items()}


def plan_of(spec: str, init: str = "inherit", **changes: Any) -> tuple[Any, StudentPlan, dict[str, Tensor]]:
    """(teacher with a LoRA, the plan of its student, the LoRA by diffusers' names)."""
    teacher = network(**changes)
    plan = make_plan(teacher.config, type(teacher), spec, init=init)
    return teacher, plan, {f"unet.{name}": tensor for name, tensor in adapted(teacher).items()}


def test_layers_that_stay_keep_their_adapters_and_the_others_are_named() -> None:
    _, plan, state = plan_of("b-base")
    text = {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.randn(3, 16)}
    carried, dropped = carry_lora({**state, **text}, plan)
    assert dropped["down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q"] == "the layer was removed"
    assert dropped["up_blocks.1.resnets.1.conv1"] == "the layer was removed"
    # in up blocks the student's second layer is the teacher's last
    name = "unet.up_blocks.1.attentions.{}.transformer_blocks.0.attn2.to_v.lora_B.weight"
    assert torch.equal(carried[name.format(1)], state[name.format(2)])
    sources = {path: f"unet.{source}" for path, source in plan.modules.items()}
    layers = [name.split(".lora_") for name in carried if name.startswith("unet.")]
    assert all(
        torch.equal(carried[f"{layer}.lora_{leaf}"], state[f"{sources[layer.removeprefix('unet.')]}.lora_{leaf}"])
        for layer, leaf in layers
    )
    assert len(layers) + 2 * len(dropped) == len(state)
    assert all(carried[name] is tensor for name, tensor in text.items())


@pytest.mark.parametrize("init", ["slice", "random"])
@pytest.mark.parametrize("spec", ["width=0.5", "b-small+width=0.5"])
def test_narrowed_layers_get_the_part_of_the_change_that_is_theirs(spec: str, init: str) -> None:
    teacher, plan, state = plan_of(spec, init, **stages(3, cross=2, attention_head_dim=(2, 4, 4)))
    carried, dropped = carry_lora(state, plan)
    sliced = make_plan(teacher.config, type(teacher), spec, init="slice")
    layers = {name.removeprefix("unet.").split(".lora_")[0] for name in carried}
    assert len(layers) > 20 and bool(dropped) == spec.startswith("b-small")
    for layer in layers:
        origin, source = sliced.origins[f"{layer}.weight"], plan.modules[layer]
        a, b = (carried[f"unet.{layer}.lora_{side}.weight"] for side in "AB")
        before = [state[f"unet.{source}.lora_{side}.weight"] for side in "AB"]
        whole = (before[1].flatten(1) @ before[0].flatten(1)).reshape(-1, *before[0].shape[1:])
        change = (b.flatten(1) @ a.flatten(1)).reshape(-1, *a.shape[1:])
        torch.testing.assert_close(change, taken(whole, origin))


def test_channels_chosen_by_weight_are_those_of_the_adapters() -> None:
    teacher = network(**stages(3, cross=2, attention_head_dim=(2, 4, 4)))
    plan = make_plan(teacher.config, type(teacher), "width=0.5", init="slice", network=teacher)
    parts = [part for origin in plan.origins.values() for dim in origin.dims for part in dim or ()]
    assert any(part.chosen for part in parts)
    plain = build(plan, teacher).state_dict()
    state = {f"unet.{name}": tensor for name, tensor in adapted(teacher, target_modules=["to_q", "to_out.0"]).items()}
    teacher.fuse_lora()
    teacher.unload_lora()
    fused = build(plan, teacher).state_dict()
    carried, dropped = carry_lora(state, plan)
    layers = {name.removeprefix("unet.").split(".lora_")[0] for name in carried}
    assert dropped == {} and len(layers) > 10
    for layer in layers:
        a, b = (carried[f"unet.{layer}.lora_{side}.weight"] for side in "AB")
        change = fused[f"{layer}.weight"] - plain[f"{layer}.weight"]
        torch.testing.assert_close(b @ a, change, rtol=1e-4, atol=1e-5)


def kohya(state: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """The LoRA by kohya's names."""
    found = {}
    for name, tensor in state.items():
        layer, side = name.removeprefix("unet.").replace(".weight", "").split(".lora_")
        place = f"lora_unet_{layer.replace('.', '_')}"
        found[f"{place}.lora_{'down' if side == 'A' else 'up'}.weight"] = tensor
        found[f"{place}.alpha"] = torch.tensor(alpha)
    return found


FORMS: dict[str, dict[str, Any]] = {
    "peft": {},
    "metadata": {"lora_alpha": 5, "alpha_pattern": {"down_blocks.0.*to_q": 7}},
    "rank-stabilised": {"lora_alpha": 5, "use_rslora": True},
    "kohya": {"lora_alpha": 6},
    "alpha keys": {"lora_alpha": 6},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_identity_student_with_the_lora_is_the_teacher_with_it(form: str, tmp_path: Path) -> None:
    pipeline = sd()
    teacher = pipeline.unet
    plan = make_plan(teacher.config, type(teacher), "depth=1.0")
    student = build(plan, teacher)
    before = output(student, plan.config)
    state = adapted(teacher, **{"target_modules": ["to_q", "to_v"], **FORMS[form]})
    with_lora = output(teacher, plan.config)
    if form == "kohya":
        save_tensors(tmp_path / WEIGHTS, kohya(state, 6.0))
    elif form == "alpha keys":
        alphas = {f"unet.{name.split('.lora_')[0]}.alpha": torch.tensor(6.0) for name in state}
        save_tensors(tmp_path / WEIGHTS, {f"unet.{name}": tensor for name, tensor in state.items()} | alphas)
    else:
        metadata = teacher.peft_config["default"].to_dict() if FORMS[form] else None
        StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=state, unet_lora_adapter_metadata=metadata)
    carried, dropped = carry_lora(read_lora(tmp_path / WEIGHTS, pipeline, teacher), plan)
    save_tensors(tmp_path / "student" / WEIGHTS, carried, {"format": "pt"})
    pipeline.unet = student
    pipeline.load_lora_weights(str(tmp_path / "student"))
    after = output(pipeline.unet, plan.config)
    assert dropped == {} and float((after - before).abs().max()) > 1e-2
    # scales are multiplied into the weights here and applied to the product there
    torch.testing.assert_close(after, with_lora, rtol=1e-4, atol=1e-5)


def test_adapters_of_the_text_encoder_come_along(tmp_path: Path) -> None:
    pipeline = sd()
    place = "text_model_encoder_layers_0_{}"
    kohya_text = {
        f"lora_te_{place.format(layer)}.{leaf}": tensor
        for layer, width in (("self_attn_q_proj", 16), ("mlp_fc1", 32))
        for leaf, tensor in (
            ("lora_down.weight", torch.randn(2, 16)),
            ("lora_up.weight", torch.randn(width, 2)),
            ("alpha", torch.tensor(6.0)),
        )
    }
    teacher = pipeline.unet
    plan = make_plan(teacher.config, type(teacher), "b-base")
    options = {"target_modules": ["to_k"]}
    unet = kohya(adapted(sd().unet, **options), 3.0)
    state = read_lora(save_tensors(tmp_path / "k.safetensors", unet | kohya_text), pipeline, teacher)
    carried, _ = carry_lora(state, plan)
    ups = {name: tensor for name, tensor in carried.items() if name.startswith("text_encoder.") and "up" in name}
    wanted = [3.0 * tensor for name, tensor in kohya_text.items() if "up" in name]
    assert sorted(float(t.sum()) for t in ups.values()) == pytest.approx(sorted(float(t.sum()) for t in wanted))
    save_tensors(tmp_path / "student" / WEIGHTS, carried, {"format": "pt"})
    pipeline.unet = build(plan, teacher)
    pipeline.load_lora_weights(str(tmp_path / "student"))
    layers = dict(pipeline.text_encoder.named_modules())
    (fc1,) = [layer for name, layer in layers.items() if name.endswith("mlp.fc1")]
    assert torch.equal(
        fc1.lora_B["default_0"].weight, 3.0 * kohya_text[f"lora_te_{place.format('mlp_fc1')}.lora_up.weight"]
    )
    assert fc1.scaling == {"default_0": 1.0}


def test_transformers_have_their_own_prefix() -> None:
    config = NETWORKS[FluxTransformer2DModel][0]
    teacher = FluxTransformer2DModel(**config)
    plan = make_plan(config, FluxTransformer2DModel, "keep=transformer_blocks:1,3+keep=single_transformer_blocks:0,5")
    state = {f"transformer.{name}": t for name, t in adapted(teacher, target_modules=["attn.to_q"]).items()}
    carried, dropped = carry_lora(state, plan)
    name = "transformer.single_transformer_blocks.{}.attn.to_q.lora_A.weight"
    assert torch.equal(carried[name.format(1)], state[name.format(5)])
    assert len(carried) == 2 * 4 and len(dropped) == 6


def test_adapters_of_another_teacher_are_named() -> None:
    _, plan, state = plan_of("b-base")
    wide = {name: torch.cat([t, t], dim=1) if ".conv1.lora_A" in name else t for name, t in state.items()}
    wide["unet.conv_in.lora_A.weight"] = torch.zeros(3, 4, 3, 3)
    wide["unet.no.such.lora_A.weight"] = wide["nobody.layer.lora_A.weight"] = torch.zeros(3, 4)
    _, dropped = carry_lora(wide, plan)
    assert dropped["down_blocks.0.resnets.0.conv1"] == "it was made for 32 to 16 channels, the teacher has 16 to 16"
    assert dropped["conv_in"] == "it is no pair of matrices"
    assert dropped["no.such"] == "the teacher has no such layer"
    assert dropped["nobody.layer"] == "no part is called so"
    text = {"text_encoder.layer.lora_A.weight": torch.zeros(3, 4)}
    assert carry_lora(text, plan) == (text, {})
    for nothing in ({}, {"unet.no.such.lora_A.weight": torch.zeros(3, 4)} | text, {"other": torch.zeros(1)}):
        with pytest.raises(UserError, match="fits no layer of the student"):
            carry_lora(nothing, plan)


def test_files_that_hold_no_lora_are_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = sd()
    with pytest.raises(UserError, match=r"no such file: .*none\.safetensors"):
        lora_file(tmp_path / "none.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "lora.bin")
    with pytest.raises(UserError, match="pickled weights can run code and are refused"):
        lora_file(tmp_path / "lora.bin")
    (tmp_path / "lora.bin").rename(tmp_path / "renamed.safetensors")
    with pytest.raises(UserError, match="damaged or no safetensors file"):
        read_lora(tmp_path / "renamed.safetensors", pipeline, pipeline.unet)
    file = save_tensors(tmp_path / "odd.safetensors", {"lora_unet_x.lora_down.weight": torch.zeros(2, 2)})
    with pytest.raises(UserError, match="is no LoRA that StableDiffusionPipeline reads"):
        read_lora(file, pipeline, pipeline.unet)
    with pytest.raises(UserError, match="DiTPipeline loads no LoRAs in diffusers"):
        read_lora(file, dit(), dit().transformer)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install condistill\[lora\]"):
        lora_file(file)
