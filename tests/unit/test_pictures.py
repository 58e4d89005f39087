"""A call with another picture for every sample: drawn by the sample's seed, kept in D, never swapped."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from condistill import Cache, Pictures, Teacher, UserError, distill, generate
from condistill.cache.values import plain, restored
from condistill.cli.main import main
from condistill.train.log import Log
from tests.tiny.catalogue import catalogue

NUM = 5
PROMPTS = ["a red fox", "two old ships", "a tree"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pictures, masks = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("masks")
    for k in range(NUM):
        Image.fromarray(np.full((16, 16, 3), 50 * k, np.uint8)).save(pictures / f"{k}.png")
        mask = np.zeros((16, 16), np.uint8)
        mask[:, 3 * k + 1 :] = 255
        Image.fromarray(mask).save(masks / f"{k}.png")
    return pictures, masks


@pytest.fixture(scope="module")
def inpainting() -> Teacher:
    return Teacher.from_pipeline(catalogue()["sd-inpaint-9"].build())


def call_of(folders: tuple[Path, Path]) -> dict[str, object]:
    size = {"height": 16, "width": 16, "num_inference_steps": 2}
    return {"image": Pictures(folders[0]), "mask_image": Pictures(folders[1]), **size}


def test_a_sample_is_the_one_with_its_picture_alone(inpainting: Teacher, folders: tuple[Path, Path]) -> None:
    call, seeds = call_of(folders), [11, 12, 13]
    together = inpainting.sample(PROMPTS, seed=seeds, call=call, output="latent")
    for k, seed in enumerate(seeds):
        own = {n: v.drawn(seed, 0) if isinstance(v, Pictures) else v for n, v in call.items()}
        alone = inpainting.sample([PROMPTS[k]], seed=[seed], call=own, output="latent")
        torch.testing.assert_close(together.latents[k], alone.latents[0])


def test_a_picture_and_its_mask_are_drawn_together(folders: tuple[Path, Path]) -> None:
    pictures, masks = map(Pictures, folders)
    for seed in range(20):
        value = np.asarray(pictures.drawn(seed, 0))[0, 0, 0]
        assert np.asarray(masks.drawn(seed, 0))[0].argmax() == 3 * (value // 50) + 1


def test_d_holds_what_belongs_to_each_item_and_is_trained_on(
    inpainting: Teacher, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # pictures were given: none of ours stands in
        cache = generate(inpainting, PROMPTS, call=call_of(folders), num_items=6, out=tmp_path / "D", progress=False)
    bound = Cache.open(cache.folder).read(range(6)).bound
    assert bound and any(len(torch.unique(rows.flatten(1), dim=0)) > 1 for rows in bound.values())
    again = generate(inpainting, PROMPTS, call=call_of(folders), num_items=6, out=tmp_path / "D", progress=False)
    assert again.manifest.id == cache.manifest.id
    student = inpainting.student("b-base")
    options = {"steps": 2, "batch": 2, "log_every": 1, "validate_every": 2}
    distill(inpainting, student, again, out=tmp_path / "run", progress=False, **options)
    assert (tmp_path / "run/validation/step-000002.png").is_file()
    losses = [row["loss"] for row in Log(tmp_path / "run/log.jsonl").rows() if isinstance(row.get("loss"), float)]
    assert len(losses) == 2 and np.isfinite(losses).all()


def test_d_says_when_pictures_of_our_own_stand_in(inpainting: Teacher, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"takes image, mask_image and was given none.*\{pictures: FOLDER\}"):
        generate(inpainting, PROMPTS, call={"num_inference_steps": 2}, out=tmp_path / "D", progress=False)


def test_a_recipe_names_folders_of_pictures(folders: tuple[Path, Path], tmp_path: Path) -> None:
    catalogue()["sd-inpaint-9"].build().save_pretrained(tmp_path / "pipe")
    folders[0].rename(tmp_path / "pictures")
    folders[1].rename(tmp_path / "masks")
    call = {
        "image": {"pictures": "pictures"}, "mask_image": {"pictures": "masks"}, "height": 16, "width": 16,
        "num_inference_steps": 2,
    }  # fmt: skip
    evaluated = json.loads(json.dumps(call))  # a recipe takes no aliases
    recipe = {
        "teacher": "pipe",
        "student": {"spec": "b-base"},
        "data": {"prompts": PROMPTS, "num_items": 4, "call": call},
        "train": {"steps": 1, "batch": 2},
        "evaluate": {"protocol": "plain", "prompts": {"all": [*PROMPTS]}, "metrics": ["kd_gap"], "call": evaluated},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["validate", str(tmp_path / "recipe.yaml")]) == 0
    assert main(["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]) == 0
    said = json.loads((tmp_path / "run/results.json").read_text())["protocol"]["call"]["image"]
    assert said.startswith(f"Pictures(num={NUM}, sha256=")
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    assert main(["validate", str(tmp_path / "recipe.yaml")]) == 2


def test_pictures_come_back_from_a_manifest_as_far_as_training_needs_them() -> None:
    pictures = Pictures([Image.new("L", (4, 4), 9), Image.new("L", (4, 4), 3)])
    back = restored(json.loads(json.dumps(plain({"image": pictures}))))["image"]
    assert (len(back), back.sha256, back[0].getpixel((0, 0))) == (2, pictures.sha256, 9)
    with pytest.raises(UserError, match="only the first is"):
        back[1]


@pytest.mark.parametrize("what", ["nothing there", "no pictures", "damaged"])
def test_a_folder_without_readable_pictures_is_one_line(what: str, tmp_path: Path) -> None:
    if what == "damaged":
        (tmp_path / "a.png").write_bytes(b"\x89PNG no")
    with pytest.raises(UserError, match=r"no such folder|no images in|no picture that can be read"):
        Pictures(tmp_path / "x" if what == "nothing there" else tmp_path)[0]
