"""Local paths of a recipe are made absolute from its folder; what is no path stays."""

from __future__ import annotations

from pathlib import Path

from condistill.recipes.paths import resolved_paths


def test_reference_and_backbones_of_an_evaluation(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "clip").mkdir()
    section = {
        "prompts": {"all": "captions.csv"},
        "reference": {"all": "real.npz"},
        "backbones": {"inception": "i.safetensors", "clip": "weights/clip", "dino": "owner/name", "lpips": "~/a.pth"},
    }
    found = resolved_paths({"evaluate": section}, tmp_path)["evaluate"]
    assert found["reference"] == {"all": str(tmp_path / "real.npz")}
    assert found["backbones"] == {
        "inception": str(tmp_path / "i.safetensors"),
        "clip": str(tmp_path / "weights" / "clip"),
        "dino": "owner/name",
        "lpips": str(Path("~/a.pth").expanduser()),
    }
    whole = resolved_paths({"evaluate": {**section, "reference": "images"}}, tmp_path)["evaluate"]
    assert whole["reference"] == str(tmp_path / "images")
