"""evaluate end to end on a tiny real pipeline: same items for all, exact limits, files that the report can read."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from condistill.errors import UserError
from condistill.evaluate import Results, evaluate
from condistill.evaluate.items import choose
from condistill.maths import draws
from condistill.teacher import Teacher

CALL = {"num_inference_steps": 2}
GROUPS = {"seen": [1, 2, 3, 4], "unseen": [11, 12, 13]}
OPTIONS = {"call": CALL, "progress": False, "latency": False}


@pytest.fixture
def results(teacher, student, judging, tmp_path):
    models = {"teacher": teacher, "without": student, "with": teacher}
    found = evaluate(models, GROUPS, judging=judging, out=tmp_path, num_items={"seen": 6}, grid=2, **OPTIONS)
    return found, tmp_path


def test_every_model_has_every_metric_in_every_group(results):
    found, _ = results
    assert [m.name for m in found.models] == ["teacher", "without", "with"]
    for model in found.models:
        assert list(model.groups) == ["seen", "unseen", "all"]
        for group, n in {"seen": 6, "unseen": 3, "all": 9}.items():
            scores = model.groups[group]
            assert list(scores) == ["concept_accuracy", "colour_accuracy", "frechet_distance", "kd_gap"]
            assert all(score.n == n for score in scores.values())
            assert all(score.low <= score.value <= score.high for score in scores.values())


def test_the_teacher_as_its_own_student_has_no_gap_and_equal_scores(results):
    found, _ = results
    assert found.model("with").groups["unseen"]["kd_gap"].value == 0.0
    assert found.model("without").groups["unseen"]["kd_gap"].value > 0.0
    for name in ("concept_accuracy", "frechet_distance"):
        assert found.model("with").groups["all"][name] == found.model("teacher").groups["all"][name]


def test_the_gap_is_the_mean_over_rising_noise_levels(results):
    found, _ = results
    gap = found.model("without").groups["seen"]["kd_gap"]
    levels = [level["u"] for level in gap.by_time]
    assert levels == sorted(levels) and len(levels) == 10 and 0 < levels[0] < levels[-1] < 1
    assert np.mean([level["value"] for level in gap.by_time]) == pytest.approx(gap.value)


def test_students_are_compared_with_the_one_called_without(results):
    found, _ = results
    (comparison,) = found.comparisons
    assert (comparison.model, comparison.baseline) == ("with", "without")
    gap = comparison.groups["unseen"]["kd_gap"]
    assert gap.value == pytest.approx(-found.model("without").groups["unseen"]["kd_gap"].value)
    assert gap.low < gap.value < gap.high < 0


def test_results_json_is_the_results(results):
    found, folder = results
    assert Results.load(folder) == Results.from_json(found.to_json())
    stored = json.loads((folder / "results.json").read_text())
    assert stored["schema"] == 1
    assert stored["protocol"]["n"] == {"seen": 6, "unseen": 3}
    assert stored["protocol"]["judge"] == "brightness"
    assert stored["protocol"]["metrics"]["kd_gap"]["higher_is_better"] is False
    assert stored["models"][0]["parameters"] > 0


def test_macs_count_convolutions_and_attention(results):
    found, _ = results
    macs = found.models[0].macs
    assert macs is not None and 0 < macs["conv_linear"] < macs["total"]


def test_pictures_of_all_models_are_of_the_same_items(results):
    _, folder = results
    index = json.loads((folder / "samples" / "index.json").read_text())
    assert {group: len(keys) for group, keys in index["groups"].items()} == {"seen": 2, "unseen": 2}
    for by_group in index["models"].values():
        for group, names in by_group.items():
            assert len(names) == len(index["groups"][group])
    pictures = [
        [np.asarray(Image.open(folder / "samples" / name)) for name in index["models"][model]["unseen"]]
        for model in ("teacher", "with", "without")
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_the_gap_is_the_one_computed_slowly(teacher, student):
    models = {"teacher": teacher, "student": student}
    found = evaluate(models, {"all": [3, 4, 5]}, protocol="plain", seed=7, **OPTIONS).model("student")
    (items,) = choose({"all": [3, 4, 5]}, num_items=None, seed=7)
    x0 = teacher.sample(items.keys, seed=items.seeds, call=CALL, output="latent").latents
    path, gaps = teacher.noise_path, []
    for k in range(10):
        t = path.times(torch.tensor([(k + 0.5) / 10]))
        for row in range(3):
            eps = draws.normal(7, f"evaluate/noise/all/{k}", np.array([row]), x0.shape[1:])
            x_t = path.add_noise(x0[row : row + 1], eps, t)
            a, b = (model.predict(x_t, t, model.encode([items.keys[row]])) for model in (teacher, student))
            gaps.append((a - b).square().mean().item())
    # 1e-5: single rows and batches of three round differently in float32
    assert found.groups["all"]["kd_gap"].value == pytest.approx(np.mean(gaps), rel=1e-5)


def test_accuracy_is_the_judges_on_the_pipelines_own_samples(teacher, judging):
    options = {**OPTIONS, "metrics": ["concept_accuracy"], "judging": judging}
    found = evaluate({"teacher": teacher}, {"a": list(range(6))}, **options).model("teacher")
    (items,) = choose({"a": list(range(6))}, num_items=None, seed=1)
    images = teacher.sample(items.keys, seed=items.seeds, call=CALL).images
    right = judging.look(images).concept == judging.asked(items.keys)[0]
    assert found.groups["a"]["concept_accuracy"].value == right.mean()


def test_a_store_makes_the_teachers_samples_once(teacher, student, judging, tmp_path):
    models, options = {"teacher": teacher, "student": student}, {**OPTIONS, "judging": judging}
    plain = evaluate(models, GROUPS, **options)
    first = evaluate(models, GROUPS, store=tmp_path, **options)
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == 4  # samples and reference of two groups
    again = evaluate({**models, "other": student}, GROUPS, store=tmp_path, out=tmp_path / "out", **options)
    for found in (first, again):
        assert [found.model(name) for name in models] == [plain.model(name) for name in models]
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.safetensors")} == files
    evaluate(models, GROUPS, store=tmp_path, **{**options, "call": {"num_inference_steps": 3}})
    assert len(list(tmp_path.glob("*.safetensors"))) == 8


def test_batch_changes_nothing_beyond_rounding(teacher, student, judging):
    models = {"teacher": teacher, "student": student}
    one, many = (evaluate(models, GROUPS, judging=judging, batch=b, **OPTIONS).model("student") for b in (1, 32))
    for group, scores in one.groups.items():
        for name, score in scores.items():
            # matrix products of other batch sizes round differently in float32
            assert score.value == pytest.approx(many.groups[group][name].value, rel=1e-4)


def test_one_list_is_split_by_the_judge_and_is_all_without_one(teacher, student, judging):
    models = {"teacher": teacher, "student": student}
    split = evaluate(models, [1, 2, 11, 12], judging=judging, **OPTIONS)
    assert split.protocol["n"] == {"seen": 2, "unseen": 2}
    plain = evaluate(models, [1, 2, 11, 12], **OPTIONS)  # no sentences of an embedded world
    assert plain.protocol["name"] == "plain"
    assert list(plain.model("student").groups) == ["all"]
    assert list(plain.model("student").groups["all"]) == ["kd_gap"]


def test_the_teacher_may_be_named_and_stands_first(teacher, student, judging):
    found = evaluate({"student": student, "big": teacher}, [1, 2], protocol="plain", teacher="big", **OPTIONS)
    assert [m.name for m in found.models] == ["big", "student"]
    assert found.model("big").groups["all"]["kd_gap"].value == 0.0


def test_models_may_be_folders(teacher, student, tmp_path):
    student.save(tmp_path / "small")
    found = evaluate([teacher, tmp_path / "small"], [1, 2], protocol="plain", **OPTIONS)
    assert [m.name for m in found.models] == ["teacher", "small"]
    direct = evaluate([teacher, student], [1, 2], protocol="plain", **OPTIONS)
    assert found.model("small").groups["all"]["kd_gap"].value == direct.model("student").groups["all"]["kd_gap"].value


def test_students_in_run_folders_are_called_like_their_runs(teacher, student, tmp_path):
    student.save(tmp_path / "mine" / "student")
    found = evaluate({"big": teacher, "small": tmp_path / "mine" / "student"}, [1], protocol="plain", **OPTIONS)
    assert [m.name for m in found.models] == ["big", "small"]
    found = evaluate([teacher, str(tmp_path / "mine" / "student")], [1], protocol="plain", **OPTIONS)
    assert [m.name for m in found.models] == ["teacher", "mine"]


def test_a_student_may_be_sampled_by_a_call_of_its_own(teacher, judging):
    models = {"teacher": teacher, "as all": teacher, "without guidance": teacher}
    calls = {"without guidance": {"guidance_scale": 1.0}}
    found = evaluate(models, GROUPS, judging=judging, call={**CALL, "guidance_scale": 4.0}, calls=calls,
                     metrics=["frechet_distance", "kd_gap"], progress=False, latency=False)  # fmt: skip
    scores = [found.model(name).groups["all"]["frechet_distance"].value for name in models]
    assert scores[0] == scores[1] != scores[2]
    written = found.to_json()["models"]
    assert [model.get("call") for model in written] == [None, None, {"guidance_scale": 1.0}]
    assert Results.from_json(found.to_json()) == found
    for wrong, message in (({"teacher": {}}, "is the teacher"), ({"with": {}}, "unknown student in calls")):
        with pytest.raises(UserError, match=message):
            evaluate(models, GROUPS, judging=judging, calls=wrong, **OPTIONS)


def test_latency_is_measured(teacher):
    found = evaluate({"teacher": teacher}, [1], protocol="plain", **{**OPTIONS, "latency": True})
    latency = found.models[0].latency_seconds
    assert latency is not None and latency > 0


def test_a_scheduler_with_an_infinity_in_its_config_is_noted(teacher, tmp_path):
    pipeline = copy.copy(teacher.pipeline)
    pipeline.scheduler = DPMSolverMultistepScheduler()
    evaluate([Teacher.from_pipeline(pipeline)], [0, 1], metrics=["kd_gap"], protocol="plain", out=tmp_path, **OPTIONS)
    noted = json.loads((tmp_path / "results.json").read_text())["protocol"]["scheduler_config"]
    assert noted["lambda_min_clipped"] == "-Infinity" and noted["num_train_timesteps"] == 1000


def test_the_reference_may_be_given(teacher, judging):
    images = np.random.default_rng(0).random((5, 4, 4, 3)).astype(np.float32)
    found = evaluate(
        {"teacher": teacher}, {"a": [1, 2]}, metrics=["frechet_distance"], judging=judging,
        reference={"a": images}, **OPTIONS,
    )  # fmt: skip
    assert found.model("teacher").groups["a"]["frechet_distance"].value > 0
    assert found.protocol["reference"]["a"].startswith("5 images, sha256 ")
    with pytest.raises(UserError, match="no images for group 'b'"):
        evaluate({"teacher": teacher}, {"b": [1, 2]}, judging=judging, reference={"a": images}, **OPTIONS)


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"metrics": ["kd_gip"]}, "did you mean 'kd_gap'"),
            ({"protocol": "wrld"}, "did you mean 'world'"),
            ({"teacher": "techer"}, "did you mean 'teacher'"),
            ({"num_items": {"unsen": 3}}, "num_items names group 'unsen'"),
            ({"num_items": 0}, "must be at least 1"),
            ({"metrics": ["no_such_module.metric"]}, "could not be imported"),
            ({"baseline": "wihtout"}, "unknown baseline"),
        ],
    )
    def test_are_named(self, teacher, judging, options, message):
        with pytest.raises(UserError, match=message):
            evaluate({"teacher": teacher}, GROUPS, judging=judging, **{**OPTIONS, **options})

    def test_no_models(self):
        with pytest.raises(UserError, match="no models"):
            evaluate({}, [1], protocol="plain")

    def test_a_judge_that_is_missing(self, teacher):
        with pytest.raises(UserError, match="need a judge"):
            evaluate({"teacher": teacher}, [1], protocol="plain", metrics=["concept_accuracy"])

    def test_a_group_called_all_beside_others(self, teacher, judging):
        with pytest.raises(UserError, match="made of the other groups"):
            evaluate({"teacher": teacher}, {"all": [1], "b": [2]}, judging=judging)

    def test_a_group_too_small_for_a_distribution(self, teacher, judging):
        with pytest.raises(UserError, match="at least 2 images"):
            evaluate({"teacher": teacher}, {"a": [1]}, judging=judging, **OPTIONS)

    def test_a_student_that_diverged(self, teacher, student, judging):
        broken = copy.deepcopy(student.network)
        torch.nn.init.constant_(next(broken.parameters()), float("nan"))
        models = {"teacher": teacher, "broken": teacher.with_network(broken)}
        with pytest.raises(UserError, match="model 'broken'"):
            evaluate(models, GROUPS, judging=judging, **OPTIONS)
        with pytest.raises(UserError, match="model 'broken'"):
            evaluate(models, [1], protocol="plain", grid=0, **OPTIONS)
