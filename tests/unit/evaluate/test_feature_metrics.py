"""Metrics of features against closed forms, slow and obvious versions, and the libraries that others report with."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from condistill.errors import UserError
from condistill.evaluate import Material, metric
from condistill.evaluate.metrics import union
from condistill.maths.distances import Gaussian, moments

N, M, D = 60, 70, 6


def features(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, D)) @ draw.normal(size=(D, D)) + shift


X, Y = features(N, 1), features(M, 2, shift=0.3)


def material(x=X, y=Y, *, name="inception") -> Material:
    return Material(keys=tuple(range(len(x))), views={name: x}, view_references={name: y})


def value(name: str, given: Material) -> float:
    return metric(name).compute(given).score.value


@pytest.mark.parametrize(("name", "feature"), [("fid", "inception"), ("fd_dino", "dino"), ("fd_clip", "clip")])
def test_frechet_distances_are_those_of_scipy(name, feature):
    mu1, mu2, sigma1, sigma2 = np.mean(X, axis=0), np.mean(Y, axis=0), np.cov(X, rowvar=False), np.cov(Y, rowvar=False)
    root = scipy.linalg.sqrtm(sigma1 @ sigma2).real
    wanted = np.square(mu1 - mu2).sum() + np.trace(sigma1 + sigma2 - 2 * root)
    assert value(name, material(name=feature)) == pytest.approx(wanted, rel=1e-8)


def test_fid_of_shifted_and_scaled_features_is_known_in_closed_form():
    shift = np.arange(D, dtype=float)
    assert value("fid", material(X + shift, X)) == pytest.approx(np.square(shift).sum())
    # of a scaled copy about the mean: (s - 1)^2 tr(sigma)
    scaled = X.mean(axis=0) + 3 * (X - X.mean(axis=0))
    assert value("fid", material(scaled, X)) == pytest.approx(4 * np.trace(moments(X)[1]))


def test_fid_is_torch_fidelitys():
    metric_fid = pytest.importorskip("torch_fidelity.metric_fid")
    statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(a)) for a in (X, Y)]
    wanted = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert value("fid", material()) == pytest.approx(wanted, rel=1e-8)


def test_fid_to_statistics_is_fid_to_their_images():
    given = material(X, Gaussian(*moments(Y)))
    assert metric("fid").compute(given).score == metric("fid").compute(material()).score


def test_fid_refuses_statistics_of_another_network():
    with pytest.raises(UserError, match="takes 6 features, the reference has 3"):
        value("fid", material(X, Y[:, :3]))


def slow_kid(x, y):
    def kernel(a, b):
        return (a @ b / D + 1) ** 3

    within = np.mean([kernel(a, b) for a, b in itertools.permutations(x, 2)])
    across = np.mean([kernel(a, b) for a in x for b in y])
    return within + np.mean([kernel(a, b) for a, b in itertools.permutations(y, 2)]) - 2 * across


def test_kid_is_the_mean_over_all_pairs():
    assert value("kid", material()) == pytest.approx(slow_kid(X, Y), rel=1e-10)


def test_kid_is_torchmetrics_of_one_subset_of_all():
    poly_mmd = pytest.importorskip("torchmetrics.image.kid").poly_mmd
    wanted = poly_mmd(torch.from_numpy(X), torch.from_numpy(Y[:N])).item()
    assert value("kid", material(X, Y[:N])) == pytest.approx(wanted, rel=1e-8)


def test_kid_of_one_distribution_is_zero_within_its_interval():
    covered = 0
    for seed in range(20):
        draw = np.random.default_rng(seed)
        score = metric("kid").compute(material(draw.normal(size=(80, D)), draw.normal(size=(2000, D)))).score
        covered += score.low <= 0 <= score.high
    assert covered >= 16  # 95 % nominal; to first order only, so a little less where the distance vanishes


def test_kid_and_the_neighbours_want_images_and_not_statistics():
    for name in ("kid", "precision", "recall", "density", "coverage"):
        with pytest.raises(UserError, match="give a folder of images"):
            value(name, material(X, Gaussian(*moments(Y))))


def logits(n: int) -> np.ndarray:
    return 3 * np.random.default_rng(5).normal(size=(n, 4))


def test_inception_score_of_few_images_by_hand():
    rows = logits(20)
    p = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    p = p[np.random.RandomState(2020).permutation(20)]
    scores = []
    for part in p.reshape(10, 2, 4):
        q = part.mean(axis=0)
        scores.append(np.exp(np.mean([(one * np.log(one / q)).sum() for one in part])))
    given = Material(keys=tuple(range(20)), views={"inception_logits": rows})
    assert value("inception_score", given) == pytest.approx(np.mean(scores), rel=1e-12)


def test_inception_score_is_torch_fidelitys():
    metric_isc = pytest.importorskip("torch_fidelity.metric_isc")
    rows = logits(137)
    wanted = metric_isc.isc_features_to_metric(torch.from_numpy(rows))["inception_score_mean"]
    given = Material(keys=tuple(range(137)), views={"inception_logits": rows})
    assert value("inception_score", given) == pytest.approx(wanted, rel=1e-10)


def test_inception_score_is_one_for_one_class_and_the_number_of_classes_for_sure_ones():
    keys = tuple(range(400))
    one = Material(keys=keys, views={"inception_logits": np.tile([50.0, 0, 0, 0], (400, 1))})
    assert value("inception_score", one) == pytest.approx(1.0)
    all_sure = Material(keys=keys, views={"inception_logits": 50 * np.eye(4)[np.arange(400) % 4]})
    assert value("inception_score", all_sure) == pytest.approx(4.0, rel=0.05)  # splits of 40 are not quite even


def slow_neighbours(x, y, k=5):
    def radius(a, points):
        return sorted(np.linalg.norm(a - b) for b in points)[k]  # the first is itself

    real, fake = [radius(b, y) for b in y], [radius(a, x) for a in x]
    inside_real = np.array([[np.linalg.norm(a - b) <= r for b, r in zip(y, real, strict=True)] for a in x])
    inside_fake = np.array([[np.linalg.norm(a - b) <= r for a, r in zip(x, fake, strict=True)] for b in y])
    return {
        "precision": inside_real.any(axis=1).mean(),
        "recall": inside_fake.any(axis=1).mean(),
        "density": inside_real.sum() / (k * len(x)),
        "coverage": inside_real.any(axis=0).mean(),
    }


def test_precision_recall_density_and_coverage_are_the_slow_ones():
    for name, wanted in slow_neighbours(X, Y).items():
        assert value(name, material()) == pytest.approx(wanted)


def test_precision_and_recall_are_torch_fidelitys():
    metric_prc = pytest.importorskip("torch_fidelity.metric_prc")
    wanted = metric_prc.calculate_precision_recall_full(torch.from_numpy(X), torch.from_numpy(Y), neighborhood=5)
    assert (value("precision", material()), value("recall", material())) == pytest.approx(wanted, abs=1e-6)


def test_limits_of_the_neighbours():
    same, far = material(X, X), material(X + 1000.0, X)
    for name in ("precision", "recall", "coverage"):
        assert value(name, same) == 1.0 and value(name, far) == 0.0
    assert value("density", same) >= 1.0 and value("density", far) == 0.0  # each image lies in its own ball too
    with pytest.raises(UserError, match="needs more than 5 images"):
        value("recall", material(X[:5], X))


def test_blocks_change_nothing(monkeypatch):
    from condistill.evaluate.metrics import _neighbours, kid

    before = {name: value(name, material()) for name in ("kid", "precision", "recall", "density", "coverage")}
    monkeypatch.setattr(_neighbours, "_ROWS", 7)
    monkeypatch.setattr(kid, "_ROWS", 7)
    assert {name: value(name, material()) for name in before} == pytest.approx(before, rel=1e-12)


def test_clip_score_is_the_mean_cosine():
    angles = np.array([0.0, np.pi / 2, np.pi])
    images = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    texts = np.tile([1.0, 0.0], (3, 1))
    given = Material(keys=("a", "b", "c"), views={"clip": images, "clip_text": texts})
    assert value("clip_score", given) == pytest.approx(0.0, abs=1e-12)


def test_lpips_diversity_counts_the_images_of_its_pairs():
    given = Material(keys=tuple(range(5)), views={"lpips": np.array([[0.2], [0.6]])})
    score = metric("lpips_diversity").compute(given).score
    assert (score.value, score.n) == (pytest.approx(0.4), 4)
    with pytest.raises(UserError, match="at least 2 images"):
        value("lpips_diversity", Material(keys=(1,), views={"lpips": np.zeros((0, 1))}))


def test_intervals_cover_about_as_often_as_they_say():
    truth = value("fid", material(features(4000, 9), Y))
    scores = [metric("fid").compute(material(features(4000, 9)[k * 200 : (k + 1) * 200], Y)).score for k in range(20)]
    bias = np.mean([score.value for score in scores]) - truth  # of small n; the interval is about the spread
    assert sum(score.low <= truth + bias <= score.high for score in scores) >= 17


def test_the_union_of_groups_joins_images_and_keeps_common_statistics():
    common, other = Gaussian(*moments(Y)), Gaussian(*moments(X))
    joined = union([material(X[:30], common), material(X[30:], common)])
    assert value("fid", joined) == value("fid", material(X, common))
    assert value("fid", union([material(X[:30], Y[:30]), material(X[30:], Y[30:])])) == value("fid", material())
    with pytest.raises(UserError, match="statistics cannot be joined"):
        value("fid", union([material(X[:30], common), material(X[30:], other)]))


def test_the_gap_has_a_part_per_tap():
    errors = np.random.default_rng(0).random((12, 3))
    given = Material(
        keys=tuple(range(12)), errors=errors, levels=np.array([0.2, 0.5, 0.8]), tap_errors={"mid_block": 4 * errors}
    )
    score = metric("kd_gap").compute(given).score
    (tap,) = score.by_tap
    assert tap["tap"] == "mid_block"
    assert tap["value"] == pytest.approx(4 * score.value) and tap["low"] < tap["value"] < tap["high"]
