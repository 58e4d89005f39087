"""Validation grids: teacher above students, the same seeds; looked at, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from condistill import Cache, Teacher, UserError, distill, generate
from condistill.evaluate.sheets import GAP, sheet, smaller, tiles
from condistill.train import validation
from tests import tiny
from tests.unit.train.conftest import trained
from tests.unit.train.test_tracking import Recorder

KEYS = ["a fox", "a house", "two dogs", "the sea", "a red ship"]
CORPUS = [*KEYS, "a lion", "an owl"]
CALL = {"num_inference_steps": 2, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.from_pipeline(tiny.sd())


@pytest.fixture(scope="module")
def cache(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return generate(teacher, KEYS, out=tmp_path_factory.mktemp("D"), call=CALL, progress=False)


def run(teacher: Teacher, cache: Cache, out: Path, *, steps: int, students: int = 1, **options: Any) -> Any:
    some = [teacher.student("c-micro", init="random", seed=k) for k in range(students)]
    usual: dict[str, Any] = dict(batch=4, lr=1e-2, ema=0.5, log_every=1, checkpoint_every=2, trackers="none")
    return distill(teacher, some, cache, corpus=CORPUS, steps=steps, out=out, progress=False, **{**usual, **options})


def state(result: Any) -> list[torch.Tensor]:
    return [value.clone() for value in result.student.network.state_dict().values()]


def rows_of(path: Path, num_rows: int) -> list[np.ndarray]:
    """The rows of a sheet, cut apart."""
    whole = np.asarray(Image.open(path))
    height = (len(whole) + GAP) // num_rows
    return [whole[k * height : (k + 1) * height - GAP] for k in range(num_rows)]


def test_grids_show_what_the_student_will_draw_and_change_no_bit(
    teacher: Teacher, cache: Cache, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    plain, after = run(teacher, cache, tmp_path / "plain", steps=4), torch.rand(1)
    assert not (tmp_path / "plain" / "validation").exists()
    torch.manual_seed(0)
    out = tmp_path / "looked"
    tracker = Recorder("x", "y")
    Recorder.told = []
    looked = run(teacher, cache, out, steps=4, validate_every=2, trackers=tracker)
    assert torch.equal(torch.rand(1), after)
    assert all(map(torch.equal, state(plain), state(looked)))
    folder = out / "validation"
    index = json.loads((folder / "index.json").read_text())
    assert [row["file"] for row in index["steps"]] == ["step-000002.png", "step-000004.png"]
    assert set(index["groups"]) == {"seen", "unseen"} and len(index["groups"]["seen"]) == 4
    assert set(index["groups"]["seen"]) < set(KEYS) and set(index["groups"]["unseen"]) == {"a lion", "an owl"}
    # the last row of the last grid is what the saved student draws, and the first what the teacher does
    keys = [key for some in index["groups"].values() for key in some]
    for k, model in enumerate((teacher, looked.student)):
        made = tiles(model.sample(keys, seed=index["seeds"], call=CALL, output="np", batch=4).images, None)
        assert made is not None and sheet([made], rate=None).picture is not None
        assert np.array_equal(rows_of(folder / "step-000004.png", 2)[k], sheet([made], rate=None).picture)
    assert not np.array_equal(*(rows_of(folder / f"step-{n:06d}.png", 2)[1] for n in (2, 4)))

    # killed after step 4, before the grid; the checkpoint of step 2 is the newest that is whole
    shutil.rmtree(out / "checkpoints" / "step-00000004")
    shutil.rmtree(out / "student")
    last = (folder / "step-000004.png").read_bytes()
    drawn = (folder / "teacher.npz").stat().st_mtime_ns
    again = run(teacher, cache, out, steps=6, validate_every=2, trackers=tracker)
    shown = [value for what, value in tracker.told if what == "images"]
    assert [step for step, _ in shown] == [2, 4, 6]
    assert set(shown[0][1]) == {"validation/grid"} and len(shown[0][1]["validation/grid"]) == 4
    assert (folder / "step-000004.png").read_bytes() == last and (folder / "teacher.npz").stat().st_mtime_ns == drawn
    assert len(json.loads((folder / "index.json").read_text())["steps"]) == 3
    plain = run(teacher, cache, tmp_path / "plain", steps=6)
    assert all(map(torch.equal, state(again), state(plain)))


def test_several_students_have_a_row_each_and_given_prompts_are_drawn(
    teacher: Teacher, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = {"animals": ["a fox"], "things": ["a house", "a red ship"]}
    run(teacher, cache, tmp_path / "a", steps=1, students=2, validate_every=1, validate_prompts=prompts, save="raw")
    index = json.loads((tmp_path / "a" / "validation" / "index.json").read_text())
    assert index["groups"] == prompts and index["students"] == ["0", "1"]
    width = Image.open(tmp_path / "a" / "validation" / "step-000001.png").size[0]
    first, *others = rows_of(tmp_path / "a" / "validation" / "step-000001.png", 3)
    assert first.shape[1] == width and not np.array_equal(*others)

    def full(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(validation, "sheet", full)
    with pytest.warns(
        UserWarning, match=r"no more validation grids: the one of step 1 failed \(no room\); the training"
    ):
        run(teacher, cache, tmp_path / "b", steps=2, validate_every=1)


def test_what_cannot_be_looked_at_is_said_before_training(
    exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="gives no pictures, videos or sounds to look at; leave"):
        trained(exact_teacher, exact_cache, tmp_path, steps=1, validate_every=1)
    for wrong, message in (
        ({"validate_every": 0}, "train.validate_every must be at least 1, got 0"),
        ({"validate_prompts": ["x"]}, "train.validate_prompts has no effect without train.validate_every"),
        ({"validate_every": 1, "validate_prompts": {"seen": []}}, "has no prompts in 'seen'"),
    ):
        with pytest.raises(UserError, match=message):
            trained(exact_teacher, exact_cache, tmp_path / "x", steps=1, **wrong)


def test_sheets_of_sounds_and_videos() -> None:
    sounds = tiles(np.zeros((2, 100)), 1000)
    assert sounds is not None and sounds.shape == (2, 1, 100)
    made = sheet([sounds, sounds], rate=1000)
    assert made.suffix == "wav" and made.picture is None
    assert len(made.content) == 44 + 2 * (4 * 100 + 3 * 300)
    videos = tiles(np.zeros((2, 5, 512, 256, 1)), None)
    assert videos is not None and videos.shape == (2, 5, 256, 128, 3)
    made = sheet([videos, videos], rate=None)
    assert made.suffix == "webp" and made.picture is not None and made.picture.shape == (2 * 256 + 4, 2 * 128 + 4, 3)
    assert smaller(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 8, 8, 3)
    assert tiles(np.zeros((2, 7)), None) is None
