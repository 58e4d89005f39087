"""p(u): bounds, limits, means of the paper's table, and names."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from condistill.errors import UserError
from condistill.maths.p_random import KNOWN, Constant, Tabulated, describe, p_random

U = torch.linspace(0, 1, 10_001)


@pytest.mark.parametrize("name", KNOWN)
def test_is_a_probability_everywhere(name: str) -> None:
    p = p_random(name)(U)
    assert p.shape == U.shape
    assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("name", KNOWN)
def test_description_is_understood_again(name: str) -> None:
    p = p_random(name)
    assert p_random(describe(p)) == p


# means over u: the table of the paper's supplement D, to the three digits given there
@pytest.mark.parametrize(
    ("spec", "mean"),
    [
        ("exponential", 0.198),
        ("sigmoid", 0.300),
        ("linear", 0.5),
        ("two-sided", 0.367),
        ("quadratic", 0.333),
        (0.25, 0.25),
    ],
)
def test_mean_is_the_papers(spec: str | float, mean: float) -> None:
    assert float(p_random(spec)(U.double()).mean()) == pytest.approx(mean, abs=7e-4)


def test_formulas_at_hand_computed_points() -> None:
    at = torch.tensor([0.25, 0.7, 1.0])
    assert p_random("exponential")(at).tolist() == pytest.approx([math.exp(-3.75), math.exp(-1.5), 1.0])
    assert p_random("sigmoid")(at).tolist() == pytest.approx([1 / (1 + math.exp(9)), 0.5, 1 / (1 + math.exp(-6))])
    assert p_random("two-sided")(at).tolist() == pytest.approx([math.exp(-1.25), math.exp(-1.5), 1.0])
    assert p_random("quadratic")(at).tolist() == pytest.approx([0.25, 0.16, 1.0])
    assert p_random("exponential:2")(at).tolist() == pytest.approx([math.exp(-1.5), math.exp(-0.6), 1.0])


def test_table_is_interpolated() -> None:
    p = Tabulated((0.0, 1.0, 0.5))
    assert p(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])).tolist() == pytest.approx([0.0, 0.5, 1.0, 0.75, 0.5])
    assert p_random("tabulated:0,1,0.5") == p


def test_never_and_always() -> None:
    assert p_random("never") == Constant(0.0) and p_random("always") == Constant(1.0)
    assert p_random("0.3") == Constant(0.3)


def test_callable_is_taken_as_it_is() -> None:
    assert p_random(torch.square)(torch.tensor([0.5])).item() == 0.25


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("sigmiod", "did you mean 'sigmoid'"),
        (1.5, "in [0, 1]"),
        (True, "never"),
        ({"name": "sigmoid", "center": 0.5}, "did you mean 'centre'"),
        ("linear:3", "takes no parameter"),
        ("exponential:fast", "must be numbers"),
        ("no_such_module.p", "could not be imported"),
        ({"name": "sigmoid", "k": []}, "must be numbers"),
        ({"name": "sigmoid", "k": [1, 2]}, "must be numbers"),
        ({"name": "sigmoid", "k": 10**400}, "must be numbers"),
        ("exponential:nan", "must be numbers"),
        ({"name": "tabulated", "values": 0.5}, "must be numbers"),
        ("tabulated:2,3", "values in [0, 1]"),
        ("./../x.y", "could not be imported"),
        ({"name": "os.system", "command": "touch made"}, "a function of u without parameters"),
        ({"name": "subprocess.Popen", "args": "touch made"}, "without __call__(u)"),
        ({"name": "functools.partial", "func": "x"}, "does not take {'func': 'x'}"),
        ("math.pi", "a function of u"),
    ],
)
def test_mistakes_are_named(spec: object, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r".*") as error:
        p_random(spec)  # type: ignore[arg-type]
    assert words in str(error.value)
    assert not list(tmp_path.iterdir())  # what a recipe names is not run
