"""The presets against the sizes that their authors publish, and their multiply-accumulates in both conventions."""

from __future__ import annotations

import pytest

from condistill.errors import UserError
from condistill.students import PRESETS, count_macs, count_parameters, load_config, make_plan

# (teacher, preset) -> (U-Net parameters in units of 1e9 as published, to the digits given, conv+linear, total MACs).
# Published: the model cards of BK-SDM-v2 base, small and tiny, KOALA-1B and 700M, SSD-1B and Segmind-Vega. The MACs in
# units of 1e9 are our own count on the meta device, for the teacher's own latents (96 x 96, 128 x 128) and 77 tokens.
PUBLISHED = {
    ("sd-2-1", "b-base"): ("0.58", 502.4, 690.8),
    ("sd-2-1", "b-small"): ("0.49", 489.0, 677.3),
    ("sd-2-1", "b-tiny"): ("0.33", 460.4, 648.8),
    ("sdxl", "koala-1b"): ("1.16", 1515.4, 1715.9),
    ("sdxl", "koala-700m"): ("0.78", 1176.2, 1350.8),
    ("sdxl", "ssd-1b"): ("1.3", 1853.8, 2103.9),
    ("sdxl", "vega"): ("0.745", 1273.0, 1411.2),  # 0.74 B on its card, cut off rather than rounded
}


@pytest.mark.parametrize(("teacher", "preset"), PUBLISHED)
def test_presets_have_their_published_size(teacher: str, preset: str) -> None:
    cls, config = load_config(teacher)
    plan = make_plan(config, cls, preset)
    size, conv_linear, total = PUBLISHED[teacher, preset]
    digits = len(size.partition(".")[2])
    assert f"{count_parameters(cls, plan.config) / 1e9:.{digits}f}" == size
    macs = count_macs(cls, plan.config)
    assert macs is not None
    assert macs["conv_linear"] == pytest.approx(conv_linear * 1e9, abs=0.06e9)
    assert macs["total"] == pytest.approx(total * 1e9, abs=0.06e9)


def test_each_family_s_presets_are_all_counted() -> None:
    assert {preset for teacher, preset in PUBLISHED if teacher == "sdxl"} == {
        name for name, preset in PRESETS.items() if preset.teachers == "SDXL"
    }


def test_a_narrowed_sd2_keeps_the_size_of_its_heads_where_it_can() -> None:
    cls, config = load_config("sd-2-1")
    plan = make_plan(config, cls, "c-micro")
    # 64 channels a head in the teacher; 160 channels are not divided by 64
    assert plan.config["block_out_channels"] == [160, 320, 640, 640]
    assert plan.config["attention_head_dim"] == [4, 5, 10, 10]


@pytest.mark.parametrize("teacher", ["sd-v1-4", "sd-2-1"])
@pytest.mark.parametrize("preset", [name for name, preset in PRESETS.items() if preset.teachers == "SDXL"])
def test_presets_of_sdxl_say_so_on_other_teachers(teacher: str, preset: str) -> None:
    cls, config = load_config(teacher)
    with pytest.raises(UserError, match=r"this preset cuts an SDXL U-Net .* got 4 stages.*choose b-base"):
        make_plan(config, cls, preset)
