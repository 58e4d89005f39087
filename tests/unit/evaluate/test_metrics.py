"""The battery that every metric of the folder passes, and each metric's own limits."""

from __future__ import annotations

import numpy as np
import pytest

from condistill.errors import UserError
from condistill.evaluate import Material, Metric, metric, metric_names
from condistill.evaluate.metrics import union
from condistill.evaluate.results import Results, Score, format_score
from condistill.evaluate.summary import difference
from condistill.maths.distances import wilson_interval


def material(n: int = 40, seed: int = 0) -> Material:
    draw = np.random.default_rng(seed)
    return Material(
        keys=tuple(range(n)),
        concept=np.arange(n) % 4,
        colour=np.arange(n) % 3,
        judged_concept=np.arange(n) % 5,
        judged_colour=np.zeros(n, dtype=int),
        features=draw.normal(size=(n, 3)),
        reference=draw.normal(size=(n, 3)),
        images=np.zeros((n, 2, 2, 3), dtype=np.uint8),
        errors=draw.random((n, 2)),
        levels=np.array([0.25, 0.75]),
        tap_errors={"mid_block": draw.random((n, 2))},
        views={
            "inception": draw.normal(size=(n, 4)),
            "inception_logits": draw.normal(size=(n, 5)),
            "clip": draw.normal(size=(n, 4)),
            "clip_text": draw.normal(size=(n, 4)),
            "dino": draw.normal(size=(n, 3)),
            "lpips": draw.random((n // 2, 1)),
        },
        view_references={name: draw.normal(size=(n, d)) for name, d in (("inception", 4), ("clip", 4), ("dino", 3))},
    )


@pytest.mark.parametrize("name", metric_names())
class TestEveryMetric:
    def test_says_what_it_is(self, name):
        found = metric(name)
        assert isinstance(found, Metric)
        assert found.name == name and found.label and found.needs in ("judge", "images", "pairs", "features")

    def test_scores_within_its_interval_and_again_the_same(self, name):
        first, second = metric(name).compute(material()), metric(name).compute(material())
        assert first.score == second.score and first.score.n == 40
        assert first.score.low <= first.score.value <= first.score.high
        np.testing.assert_array_equal(first.resampled, second.resampled)

    def test_differs_from_itself_by_nothing(self, name):
        found = metric(name).compute(material())
        assert difference(found, found) == Score(0.0, 0.0, 0.0, 40)


def test_accuracy_is_the_share_with_its_wilson_interval():
    found = metric("colour_accuracy").compute(material(n=30)).score
    assert found.value == pytest.approx(1 / 3)
    assert (found.low, found.high) == wilson_interval(10, 30)


def test_frechet_distance_grows_with_a_shift_of_the_mean():
    near, far = material(), material()
    far = union([far])
    assert far.features is not None
    shifted = Material(keys=far.keys, features=far.features + 3.0, reference=far.reference)
    distance = metric("frechet_distance").compute
    # a shift by 3 in three dimensions adds 27 plus twice the product with the difference there is
    assert distance(shifted).score.value - distance(near).score.value > 20


def test_union_puts_groups_together_and_drops_what_one_lacks():
    a, b = material(n=4), Material(keys=("x",), concept=np.array([1]))
    both = union([a, b])
    assert len(both) == 5 and both.features is None
    assert both.concept is not None and both.concept.tolist() == [0, 1, 2, 3, 1]


def test_unknown_and_foreign_names():
    with pytest.raises(UserError, match="did you mean 'kd_gap'"):
        metric("kdgap")
    assert metric("condistill.evaluate.metrics.kd_gap.METRIC").name == "kd_gap"
    assert metric("condistill.evaluate.metrics.kd_gap.KDGap").name == "kd_gap"
    with pytest.raises(UserError, match="must have name"):
        metric("math.pi")


def test_table_has_a_row_per_model_and_group(tmp_path):
    score = Score(0.5, 0.25, 0.75, 8)
    assert format_score(score) == "0.5 [0.25, 0.75]"
    obj = {
        "schema": 1,
        "protocol": {},
        "models": [{"name": "m", "groups": {"g": {"a": score.to_json()}, "h": {"b": score.to_json()}}}],
    }
    table = Results.from_json(obj).table()
    assert table == [
        ["model", "group", "a", "b"],
        ["m", "g", "0.5 [0.25, 0.75]", "-"],
        ["m", "h", "-", "0.5 [0.25, 0.75]"],
    ]


@pytest.mark.parametrize(
    ("obj", "message"),
    [({"schema": 2}, "schema 2"), ([], "schema 'list'"), ({"schema": 1, "protocol": {}}, "incomplete")],
)
def test_other_results_are_refused(obj, message):
    with pytest.raises(UserError, match=message):
        Results.from_json(obj)


def test_unknown_model():
    with pytest.raises(UserError, match="unknown model"):
        Results({}, ()).model("with")
