"""Parameters and MACs against the published and the counted ones, on the meta device."""

from __future__ import annotations

from typing import Any

import pytest

from condistill.students import count_macs, count_parameters, inspect, load_config, make_plan
from condistill.students.planning import NO_MID

# Counted with diffusers on the meta device; b-* agree with BK-SDM, c-* with arXiv 2504.02011. MACs in units of 1e9
# for 64 x 64 latents and 77 tokens; c-small and c-tiny are our own count.
SD14 = {
    "b-base": (579_384_964, 223.7, 261.5),
    "b-small": (482_346_884, 217.7, 255.5),
    "b-tiny": (323_384_964, 205.0, 242.8),
    "c-base": (553_235_204, 217.0, 267.4),
    "c-small": (425_288_868, 166.3, 210.4),
    "c-tiny": (314_140_228, 122.3, 160.1),
    "c-micro": (219_789_284, 85.1, 116.6),
}
# Published: KOALA 1.16 B and 782 M; SSD-1B 1.3 B; Vega 0.74 B parameters
SDXL = {
    "koala-1b": 1_161_184_324,
    "koala-700m": 782_822_724,
    "ssd-1b": 1_331_334_404,
    "vega": 745_225_604,
}
# the cuts of BK-SDM-v2 on SD 2.1; our own count (published as 0.58 B, 0.49 B, 0.33 B)
SD21 = {"b-base": 583_480_964, "b-small": 485_787_524, "b-tiny": 326_825_604}


def test_teacher_counts() -> None:
    cls, config = load_config("sd-v1-4")
    assert count_parameters(cls, config) == 859_520_964
    macs = count_macs(cls, config)
    assert macs is not None
    assert macs["conv_linear"] == pytest.approx(338.6e9, abs=0.06e9)
    assert macs["total"] == pytest.approx(401.6e9, abs=0.06e9)
    assert count_parameters(*load_config("sd-2-1")) == 865_910_724
    assert count_parameters(*load_config("sdxl")) == 2_567_463_684


@pytest.mark.parametrize("name", SD14)
def test_students_of_sd14_have_the_published_size(name: str) -> None:
    cls, config = load_config("sd-v1-4")
    plan = make_plan(config, cls, name)
    parameters, conv_linear, total = SD14[name]
    found = inspect(plan)
    assert found.parameters == {"teacher": 859_520_964, "student": parameters}
    macs = found.macs["student"]
    assert macs is not None
    assert macs["conv_linear"] == pytest.approx(conv_linear * 1e9, abs=0.1e9)
    assert macs["total"] == pytest.approx(total * 1e9, abs=0.1e9)
    assert (NO_MID in plan.notes) == (name in ("b-small", "b-tiny"))


@pytest.mark.parametrize(("name", "spec"), [*(("sdxl", spec) for spec in SDXL), *(("sd-2-1", spec) for spec in SD21)])
def test_students_of_other_teachers_have_the_published_size(name: str, spec: str) -> None:
    cls, config = load_config(name)
    plan = make_plan(config, cls, spec)
    assert count_parameters(cls, plan.config) == {**SDXL, **SD21}[spec]
    assert {origin.kind for origin in plan.origins.values()} == {"inherited"}


def test_other_classes_are_counted_with_what_they_ask_for_or_are_given() -> None:
    import torch
    from diffusers import PixArtTransformer2DModel

    config: dict[str, Any] = dict(
        num_layers=2, num_attention_heads=2, attention_head_dim=8, sample_size=8, in_channels=4, out_channels=4,
        cross_attention_dim=16, caption_channels=16,
    )  # fmt: skip
    zeros = {name: torch.zeros(1, *shape, device="meta") for name, shape in {
        "hidden_states": (4, 8, 8), "encoder_hidden_states": (3, 16)}.items()}  # fmt: skip
    found = count_macs(PixArtTransformer2DModel, config, inputs=zeros | {"timestep": torch.zeros(1, device="meta")})
    assert found is not None and found["total"] > found["conv_linear"] > 0
    assert count_macs(PixArtTransformer2DModel, config, tokens=3) == found
