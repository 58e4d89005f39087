"""Folders that diffusers does not load: what is wrong with them, in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from condistill.errors import UserError
from condistill.students.by_configs import recorded_by_configs
from condistill.teacher.faults import fault_of
from condistill.teacher.loading import load_pipeline
from tests.unit.cli.conftest import Cli
from tests.unit.cli.conftest import cli as cli

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"text_encoder": [None, None]}, "has null for text_encoder, which StableDiffusionPipeline needs"),
        ({"vae": None}, "has null for vae, which StableDiffusionPipeline needs"),
        ({"_class_name": "StableDiffusionPipelin"}, "did you mean 'StableDiffusionPipeline'?"),
        ({"_class_name": "UNet2DModel"}, "names 'UNet2DModel' as its pipeline, which is none"),
        ({"unet": ["diffusers", "UNet2DConditionMode"]}, "did you mean 'UNet2DConditionModel'?"),
        ({"tokenizer": ["transformers", "CLIPTokenize"]}, "and transformers has no 'CLIPTokenize'; did you mean"),
        (
            {"unet": ["mylab", "Net"]},
            "no parts from 'mylab': make the part yourself and give it as unet=",
        ),
        ({"unet": ["diffusers"]}, "a pair of library and class is wanted"),
        ({}, "gives the word 'a' the number 1180591620717411303424; a number from 0 to 4294967295 is wanted"),
    ],
)
def test_a_folder_that_does_not_load_says_what_is_wrong(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps(INDEX | changes))
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 2**70}}}))
    for read in (load_pipeline, recorded_by_configs):
        with pytest.raises(UserError, match=r"could not load|cannot be recorded") as caught:
            read(tmp_path)
        assert why in str(caught.value)


def test_what_is_given_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps(INDEX | {"unet": [None, None], "_class_name": "Mine"}))
    assert fault_of(tmp_path, ["unet", "custom_pipeline"]) is None


def test_a_class_that_is_unknown_is_exit_code_2(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "FluxTransformer2DModl"}')
    assert "did you mean 'FluxTransformer2DModel'?" in cli("inspect", tmp_path).error
