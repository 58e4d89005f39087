"""Choosing the key of a swapped sample: limits that are uniform, weights, and what is learned and kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from condistill import corpus
from condistill.distill.swap import KNOWN, ByGap, BySimilarity, Uniform, swap_of
from condistill.errors import UserError
from condistill.maths.draws import numbers, uniforms

C = corpus([f"key {k}" for k in range(10)])
N = 4000
KEYS = ["key 0"] * N


def uniform(purpose: str) -> np.ndarray:
    return uniforms(0, purpose, numbers(0, N))


class Encoder:
    """A teacher whose conditions are directions in a plane, one a tenth of a turn after the other."""

    def encode(self, keys: Any) -> Any:
        angles = torch.tensor([int(key.split()[1]) for key in keys]) * (2 * torch.pi / 10)
        return SimpleNamespace(leaves={"text": torch.stack([angles.cos(), angles.sin()], dim=1)})


def shares(chooser: Any, u: float) -> np.ndarray:
    drawn = chooser.draw(C, uniform, KEYS, torch.full((N,), u))
    return np.bincount([int(key.split()[1]) for key in drawn], minlength=10) / N


def begun(spec: Any) -> Any:
    chooser = swap_of(spec)
    chooser.begin(Encoder(), C)
    return chooser


def test_uniform_is_the_draw_that_it_always_was() -> None:
    assert begun("uniform").draw(C, uniform, KEYS, torch.zeros(N)) == C.draw(uniform("condition"))


@pytest.mark.parametrize("spec", [{"by": "gap", "power": 0}, {"by": "similarity", "strength": 0}, "gap"])
def test_without_weight_every_key_is_as_likely(spec: Any) -> None:
    # 4000 draws: three standard deviations of a share of 0.1 are 0.014
    assert shares(begun(spec), 0.5) == pytest.approx(0.1, abs=0.015)


def met(chooser: Any, errors: dict[int, float], *, times: int) -> None:
    for _ in range(times):
        keys = [f"key {k}" for k in errors] + [""]
        chooser.learn(keys, torch.full((len(keys),), 0.5), [torch.tensor([*errors.values(), 100.0])])
        chooser.settle(lambda rows: rows)


def test_the_gap_draws_what_is_not_known() -> None:
    chooser = begun("gap")
    met(chooser, {0: 1.0, 1: 1.0, 2: 4.0}, times=60)
    # the null condition is no key of C and counts for nothing: the mean error is 2
    gap = chooser.tensors()["gap"]
    assert gap[0] == pytest.approx(0.5, abs=0.01) and gap[2] == pytest.approx(2.0, abs=0.01)
    assert gap[0] == gap[1] and (gap[3:] == 1).all()
    found = shares(chooser, 0.5)
    assert found[2] > 3 * found[0] and found[0] > 0


def test_gaps_are_compared_at_one_noise_level() -> None:
    chooser = begun("gap")
    for _ in range(40):
        # key 1 is met where every error is ten times as large
        chooser.learn(["key 0", "key 1"], torch.tensor([0.05, 0.95]), [torch.tensor([0.1, 1.0])])
        chooser.settle(lambda rows: rows)
    gap = chooser.tensors()["gap"]
    assert gap[0] == pytest.approx(1.0, rel=1e-5) and gap[1] == pytest.approx(1.0, rel=1e-5)


def test_what_was_learned_is_kept_and_does_not_depend_on_how_a_step_is_cut() -> None:
    one, two = begun("gap"), begun("gap")
    rows = [(f"key {k % 10}", k / 40, float(k + 1)) for k in range(40)]
    keys, u, errors = zip(*rows, strict=True)
    one.learn(keys, torch.tensor(u), [torch.tensor(errors)])
    for part in (slice(0, 25), slice(25, 40)):
        two.learn(keys[part], torch.tensor(u[part]), [torch.tensor(errors[part])])
    for chooser in (one, two):
        chooser.settle(lambda rows: rows)
    again = begun("gap")
    again.restore(one.tensors())
    for chooser in (two, again):
        assert all(torch.equal(value, one.tensors()[name]) for name, value in chooser.tensors().items())
        assert chooser.draw(C, uniform, KEYS, torch.zeros(N)) == one.draw(C, uniform, KEYS, torch.zeros(N))


def test_similarity_matters_where_there_is_little_noise() -> None:
    clean, noisy = shares(begun("similarity"), 0.0), shares(begun("similarity"), 1.0)
    assert noisy == pytest.approx(0.1, abs=0.015)
    assert clean[0] > clean[1] > clean[2] > clean[5] and clean[0] > 0.3


def test_padding_and_length_do_not_count() -> None:
    class Padded(Encoder):
        def encode(self, keys: Any) -> Any:
            found = super().encode(keys).leaves["text"]
            longest = max(int(key.split()[1]) for key in keys) + 1
            rows = torch.zeros(len(keys), longest, 2)
            for k, key in enumerate(keys):
                rows[k, : int(key.split()[1]) + 1] = found[k]  # the longer the more tokens, all alike
            return SimpleNamespace(leaves={"text": rows, "mask": rows[..., 0] != 0})

    plain, padded = begun("similarity"), swap_of("similarity")
    padded.begin(Padded(), C)
    some = torch.full((N,), 0.2)
    assert padded.draw(C, uniform, KEYS, some) == plain.draw(C, uniform, KEYS, some)


def test_every_chooser_describes_itself() -> None:
    for name in KNOWN:
        assert swap_of(swap_of(name).describe()) == swap_of(name)
    assert swap_of({"by": "gap", "power": 2}) == ByGap(power=2.0)
    mine = Uniform()
    assert swap_of(mine) is mine


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gab", "unknown swap 'gab'; did you mean 'gap'"),
        ({"by": "gap", "powr": 1}, "did you mean 'power'"),
        ({"by": "gap", "power": -1}, "from 0 to 1000"),
        ({"by": "gap", "candidates": 1}, "2 or more"),
        ({"by": "similarity", "candidates": 2.5}, "candidates as a number"),
        ({"by": "uniform", "power": 1}, "unknown parameter of swap 'uniform'"),
    ],
)
def test_mistakes_are_named(spec: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        swap_of(spec)


def test_what_has_no_gap_or_likeness_is_refused() -> None:
    class Large:
        def __len__(self) -> int:
            return 300_000

    with pytest.raises(UserError, match="up to 200,000; C has 300,000"):
        ByGap().begin(None, Large())
    labels = SimpleNamespace(encode=lambda keys: SimpleNamespace(leaves={"class": torch.tensor([1] * len(keys))}))
    with pytest.raises(UserError, match="told numbers only"):
        BySimilarity().begin(labels, C)
