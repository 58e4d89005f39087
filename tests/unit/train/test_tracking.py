"""Trackers follow a run: they are told all of it once, and nothing that they do makes a difference to it."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, register_tracker_class

from condistill import Cache, Teacher, UserError
from condistill.train import trackers, tracking
from condistill.train.tracking import tell_scores
from tests.unit.train.conftest import trained
from tests.unit.train.test_resuming import rows, same


class Recorder(GeneralTracker):
    """Keeps what it is told; raises, or waits for ever, where it is asked to."""

    name = "recorder"
    requires_logging_directory = True
    told: ClassVar[list[tuple[str, Any]]] = []
    fails_at = ""

    def __init__(self, project: str, folder: str):
        super().__init__()
        self._do("init", (project, folder))

    def _do(self, what: str, value: Any) -> None:
        if what == self.fails_at:
            raise ConnectionError("the server\ndoes not answer")
        if f"{what} hangs" == self.fails_at:
            threading.Event().wait()
        self.told.append((what, value))

    @property
    def tracker(self) -> None:
        return None

    def start(self) -> None:
        torch.manual_seed(len(self.told))  # a tracker may do as it likes
        self._do("start", None)

    def store_init_configuration(self, values: dict) -> None:
        self._do("config", values)

    def log(self, values: dict, step: int | None = None, **_: Any) -> None:
        self._do("log", (step, values))

    def log_images(self, values: dict, step: int | None = None) -> None:
        self._do("images", (step, {name: picture.shape for name, picture in values.items()}))

    def finish(self) -> None:
        self._do("finish", None)


@pytest.fixture
def recorder() -> Iterator[type[Recorder]]:
    register_tracker_class(Recorder)
    Recorder.told, Recorder.fails_at = [], ""
    yield Recorder
    del LOGGER_TYPE_TO_CLASS[Recorder.name]


def steps_told() -> list[int]:
    return [value[0] for what, value in Recorder.told if what == "log"]


def test_a_tracker_is_told_the_run_once_over_all_of_its_starts(
    exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path, recorder: type[Recorder]
) -> None:
    options: dict[str, Any] = {"checkpoint_every": 2, "trackers": ["recorder"]}
    trained(exact_teacher, exact_cache, tmp_path, steps=2, **options)
    assert [what for what, _ in recorder.told] == ["init", "start", "config", "log", "log", "finish"]
    assert recorder.told[0][1] == ("condistill", str(tmp_path / "trackers" / "recorder"))
    config, first = recorder.told[2][1], recorder.told[3][1][1]
    assert config["train.lr"] == 1e-3 and config["p_random.name"] == "auto"
    assert {"loss/total", "loss/out", "train/swap_rate", "train/lr", "train/memory_mib"} <= first.keys()
    assert first["loss/total"] == rows(tmp_path)[1]["loss"] and first["train/skipped_steps"] == 0
    # killed at step 4, after the checkpoint of step 2: what was told of steps 3 and 4 stands
    shutil.copytree(tmp_path / "checkpoints", tmp_path / "kept")
    trained(exact_teacher, exact_cache, tmp_path, steps=4, **options)
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "kept").rename(tmp_path / "checkpoints")
    trained(exact_teacher, exact_cache, tmp_path, steps=5, **options)
    assert steps_told() == [1, 2, 3, 4, 5]
    assert sum(what == "config" for what, _ in recorder.told) == 1
    known = json.loads((tmp_path / "trackers" / "recorder.json").read_text())
    for _ in range(2):
        tell_scores(["recorder", "tensorboard"], tmp_path, {"unseen/kd_gap": 0.5}, step=5)
    assert json.loads((tmp_path / "trackers" / "recorder.json").read_text()) == {**known, "step": 6}
    scores = [value for what, value in recorder.told if what == "log"][5:]
    assert scores == [(6, {"evaluate/unseen/kd_gap": 0.5})]
    # one that is named later is told what was before
    (tmp_path / "trackers" / "recorder.json").unlink()
    trained(exact_teacher, exact_cache, tmp_path, steps=6, **options)
    assert steps_told()[6:] == [1, 2, 3, 4, 5, 6]
    assert not [path for path in tmp_path.rglob(".*")]


def test_nothing_that_a_tracker_does_makes_a_difference(
    exact_teacher: Teacher,
    exact_cache: Cache,
    tmp_path: Path,
    recorder: type[Recorder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = trained(exact_teacher, exact_cache, tmp_path / "none", steps=3, trackers="none")
    assert not (tmp_path / "none" / "trackers").exists()
    for where in ("init", "start", "config", "log", "finish", "log hangs"):
        recorder.fails_at = where
        monkeypatch.setattr(tracking, "SECONDS_TO_FINISH", 0.2 if "hangs" in where else 60.0)
        said = "does not finish" if "hangs" in where else r"failed \(the server does not answer\)"
        out = tmp_path / where
        with pytest.warns(UserWarning, match=f"^tracker recorder: {said}.*the run goes on without it$") as caught:
            student = trained(exact_teacher, exact_cache, out, steps=3, trackers=["recorder"])
        assert len([one for one in caught if "tracker" in str(one.message)]) == 1
        assert same(whole, student) and rows(out) == rows(tmp_path / "none")
    # the next start tells it what it has missed
    recorder.fails_at, recorder.told = "", []
    trained(exact_teacher, exact_cache, tmp_path / "log", steps=4, trackers=Recorder("mine", "folder"))
    assert steps_told() == [1, 2, 3, 4]


def test_a_tracker_that_is_not_installed_is_one_remark(
    exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    assert trackers.named("auto") == ()
    with pytest.warns(
        UserWarning, match="tracker comet_ml: its package is not installed: pip install comet-ml; the run"
    ):
        trained(exact_teacher, exact_cache, tmp_path, steps=1, trackers=["comet_ml"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("wandbb", "unknown tracker 'wandbb'; did you mean 'wandb'"),
        (["tensorboard", "mlflo"], "unknown tracker 'mlflo'; did you mean 'mlflow'"),
        (["wandb", "wandb"], "the tracker 'wandb' is named twice"),
        (["wandb", "none"], "unknown tracker 'none'"),
        (3, "a tracker is a name or one of accelerate's"),
    ],
)
def test_what_names_no_tracker(asked: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        trackers.named(asked)


def test_wandb_is_offline_unless_somebody_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mode() -> Any:
        return trackers.ARGUMENTS["wandb"](trackers.Place(tmp_path, "run", None)).get("mode")

    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert mode() == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password 0123\n")
    (tmp_path / "netrc").chmod(0o600)
    assert mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode() is None  # wandb reads it itself


def test_tensorboard_has_one_curve(exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    for steps in (2, 4):
        trained(exact_teacher, exact_cache, tmp_path, steps=steps, trackers="auto")
    (folder,) = (tmp_path / "trackers" / "tensorboard").iterdir()
    found = accumulators.EventAccumulator(str(folder)).Reload()
    curve = found.Scalars("loss/total")
    assert [point.step for point in curve] == [1, 2, 3, 4]
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert curve[3].value == pytest.approx(next(row["loss"] for row in logged if row["step"] == 4))
