"""The plan as a diff, and the configs that can be inspected without weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from diffusers import UNet2DConditionModel

from condistill.errors import UserError
from condistill.students import inspect, load_config, make_plan, shipped_configs
from tests.tiny.pipelines import unet_config


def test_the_tree_says_what_goes_and_why() -> None:
    found = inspect(make_plan(unet_config(), UNet2DConditionModel, "b-tiny"))
    rows = {row.path: row for row in found.rows}
    assert rows["mid_block"].status == "removed" and "b-tiny" in rows["mid_block"].reason
    assert rows["up_blocks.0"].reason == "of 4 up_blocks 1, 2, 3 stay"
    assert rows["up_blocks.1.resnets.2"].student == "up_blocks.0.resnets.1"
    assert rows["down_blocks.2.downsamplers"].reason == "the innermost stage does not downsample"
    assert rows["conv_in"].status == "kept"
    lines = list(found.lines())
    assert len(lines) == len(found.rows) and all(line.isascii() for line in lines)


@pytest.mark.parametrize("spec", ["b-base", "b-tiny", "width=0.5", "depth=1.0"])
def test_rows_add_up_to_the_whole(spec: str) -> None:
    found = inspect(make_plan(unet_config(), UNet2DConditionModel, spec))
    top = [row for row in found.rows if row.depth == 0]
    assert sum(row.teacher_parameters for row in top) == found.parameters["teacher"]
    assert sum(row.student_parameters for row in top) == found.parameters["student"]
    for who in ("teacher", "student"):
        macs = found.macs[who]
        assert macs is not None
        assert sum(getattr(row, f"{who}_macs") or 0 for row in top) == macs["total"]


def test_narrowed_modules_are_one_row_each() -> None:
    found = inspect(make_plan(unet_config(), UNet2DConditionModel, "width=0.5", init="random"))
    assert {row.status for row in found.rows} == {"narrowed"} and {row.depth for row in found.rows} == {0}
    assert found.origins == {"fresh": sum(found.origins.values())}


def test_an_inspection_is_json() -> None:
    found = inspect(make_plan(unet_config(), UNet2DConditionModel, "b-small"))
    back = json.loads(json.dumps(found.as_dict()))
    assert back["parameters"] == found.parameters and len(back["rows"]) == len(found.rows)
    assert back["notes"] == list(found.notes) and len(back["taps"]) == len(found.taps)


def test_shipped_configs_build() -> None:
    assert {"sd-v1-4", "sd-2-1", "sdxl"} <= set(shipped_configs())
    assert load_config("sd-v1-4")[0] is UNet2DConditionModel


def test_a_config_is_found_in_a_pipeline_folder_its_component_and_a_file(tmp_path: Path) -> None:
    net = UNet2DConditionModel(**unet_config())
    net.save_config(tmp_path / "unet")
    for where in (tmp_path, tmp_path / "unet", str(tmp_path / "unet" / "config.json")):
        cls, config = load_config(where)
        assert cls is UNet2DConditionModel and config["block_out_channels"] == [16, 16, 32, 32]
        assert not [name for name in config if name.startswith("_")]


def test_folders_that_hold_no_network_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder or config: sd-v14; did you mean 'sd-v1-4'\?"):
        load_config("sd-v14")
    with pytest.raises(UserError, match=r"has no config\.json"):
        load_config(tmp_path)
    path = tmp_path / "config.json"
    for text, message in [
        ("{", "cannot be read"),
        ("[]", "names no class"),
        ('{"_class_name": "NoNetwork"}', "no network class 'NoNetwork'"),
        ('{"_class_name": "DDIMScheduler"}', "no network class 'DDIMScheduler'"),
    ]:
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load_config(path)
    path.write_text('{"_class_name": "UNet2DConditionModel", "block_out_channels": [10, 20, 30, 40]}')
    cls, config = load_config(path)
    with pytest.raises(UserError, match="cannot be built from this config"):
        make_plan(config, cls, "b-base")
