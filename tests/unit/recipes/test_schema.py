"""Recipes: what is refused, where it is said to be wrong, and what is filled in."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condistill.errors import UserError
from condistill.recipes import strict_yaml
from condistill.recipes.arms import arms, own_calls
from condistill.recipes.load import load_recipe, overridden
from condistill.recipes.schema import checked

MINIMAL = {"teacher": "emoji", "student": "b-base", "data": {"prompts": ["a cat"]}, "train": {"steps": 10}}
EVALUATED = {"prompts": {"all": ["a cat"]}}


def test_a_minimal_recipe_has_all_defaults() -> None:
    recipe = checked(MINIMAL, name="r")
    assert (recipe.name, recipe.p_random, recipe.train.batch, recipe.loss.p_null) == (
        "student",
        "exponential",
        256,
        0.1,
    )
    assert recipe.teacher.load == "emoji" and recipe.student.spec == "b-base" and recipe.student.init == "inherit"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p_randon": 1}, "r: unknown key 'p_randon' in recipe (did you mean 'p_random'?)"),
        ({"train": {"steps": 10, "stepz": 1}}, "r: unknown key 'stepz' in train (did you mean 'steps'?)"),
        (
            {"loss": {"xyzzy": 1}},
            "r: unknown key 'xyzzy' in loss (known: output, feature, task, guidance, taps, p_null)",
        ),
        ({"train": {}}, "r: train.steps is missing; it has no default"),
        ({"train": {"steps": "ten"}}, "r: train.steps must be a valid integer, got 'ten'"),
        (
            {"train": {"steps": 1, "compile": "maybe"}},
            "r: train.compile must be a valid boolean or 'auto', got 'maybe'",
        ),
        ({"train": {"steps": True}}, "r: train.steps must be a valid integer, got True"),
        ({"train": {"steps": 0}}, "r: train.steps must be greater than or equal to 1, got 0"),
        ({"train": {"steps": 10**20}}, f"r: train.steps must be less than or equal to 2147483647, got {10**20}"),
        ({"train": {"steps": 1, "lr": float("nan")}}, "r: train.lr must be a finite number, got nan"),
        ({"train": {"steps": 1, "precision": "fp8"}}, "r: train.precision must be 'no', 'bf16' or 'fp16', got 'fp8'"),
        (
            {"train": {"steps": 1, "batch": 6, "micro_batch": 4}},
            "r: train.batch 6 is no multiple of train.micro_batch 4; set train.micro_batch=2, or null to",
        ),
        ({"train": [1]}, "r: train must be a mapping of steps, batch,"),
        (
            {"student": {"spec": "b-base", "init": "inherited"}},
            "r: student.init must be 'inherit', 'slice' or 'random'",
        ),
        ({"loss": {"output": 0, "feature": 0}}, "r: loss has no term"),
        ({"loss": {"p_null": 1.5}}, "r: loss.p_null must be less than or equal to 1, got 1.5"),
        ({"name": "../x"}, "r: name '../x' must be a word"),
        ({"compare": {"without": {"data": {"num_items": 3}}}}, "r: compare.without.data may only change corpus"),
        (
            {"compare": {"without": {"p_randon": 0}}},
            "r: unknown key 'p_randon' in compare.without (did you mean 'p_random'?)",
        ),
        (
            {"name": "without", "compare": {"without": {}}},
            "r: compare has an arm 'without', which is the name of the run",
        ),
        (
            {"evaluate": {"prompts": {"seen": ["a"]}, "num_items": {"sen": 1}}},
            "r: unknown key 'sen' in evaluate.num_items (did you mean 'seen'?)",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place_in_one_line(change: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        checked({**MINIMAL, **change}, name="r")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_no_mapping_at_all() -> None:
    with pytest.raises(UserError, match="must be a mapping"):
        checked([1, 2], name="r")


def test_training_options_are_those_of_the_engine() -> None:
    from condistill.recipes.dump import MAY_CHANGE
    from condistill.recipes.schema import TrainSection
    from condistill.train.options import FREE_TO_CHANGE, TrainOptions

    engine = {field.name: field.default for field in dataclasses.fields(TrainOptions) if field.name != "p_null"}
    ours = {name: field.default for name, field in TrainSection.model_fields.items()}
    assert ours.keys() == engine.keys()
    assert {k: v for k, v in ours.items() if k != "steps"} == {k: v for k, v in engine.items() if k != "steps"}
    assert {key for key in MAY_CHANGE if key.startswith("train.")} == {f"train.{name}" for name in FREE_TO_CHANGE}


def test_loss_weights_are_those_of_the_engine() -> None:
    from condistill.distill.losses import LossWeights
    from condistill.recipes.schema import LossSection

    assert {*LossSection.model_fields} == {field.name for field in dataclasses.fields(LossWeights)} | {"p_null"}


def test_arms_are_the_comparisons_and_then_the_run_itself() -> None:
    recipe = checked({**MINIMAL, "compare": {"without": {"p_random": "never", "train": {"lr": 0.5}}}}, name="r")
    without, main = arms(recipe)
    assert (without.name, without.folder, main.name, main.folder) == (
        "without", Path("compare/without"), "with", Path("."),
    )  # fmt: skip
    assert without.recipe.p_random == "never" and without.recipe.train.lr == 0.5 and without.recipe.train.steps == 10
    assert main.recipe.p_random == "exponential" and main.recipe.train.lr == 5e-5
    assert not main.recipe.compare and not without.recipe.compare


def test_an_arm_with_a_wrong_value_is_named() -> None:
    recipe = checked({**MINIMAL, "compare": {"short": {"train": {"stepz": 1}}}}, name="r")
    with pytest.raises(UserError, match=r"compare.short: unknown key 'stepz' in train \(did you mean 'steps'\?\)"):
        arms(recipe)


def test_an_arm_s_p_random_replaces_the_other_s_parameters() -> None:
    recipe = checked(
        {**MINIMAL, "p_random": {"name": "sigmoid", "k": 10}, "compare": {"e": {"p_random": {"name": "exponential"}}}},
        name="r",
    )
    assert arms(recipe)[0].recipe.p_random == {"name": "exponential"}


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("train.steps=100", ("train", "steps"), 100),
        ("train.lr=5e-5", ("train", "lr"), 5e-5),
        ("p_random=sigmoid", ("p_random",), "sigmoid"),
        ("data.call={guidance_scale: 2}", ("data", "call"), {"guidance_scale": 2}),
        ("student.init=random", ("student",), {"spec": "b-base", "init": "random"}),
        ("evaluate=null", ("evaluate",), None),
        ("train.precision=no", ("train", "precision"), "no"),
        ("name=a=b", ("name",), "a=b"),
    ],
)
def test_overrides(override: str, place: tuple[str, ...], value: object) -> None:
    before = copy.deepcopy(MINIMAL)
    found: object = overridden(MINIMAL, override)
    for key in place:
        found = found[key]  # type: ignore[index]
    assert found == value
    assert before == MINIMAL  # a copy was changed


@pytest.mark.parametrize("override", ["train.steps", "=3", "train..steps=1", ".=1", "train.steps.more=1"])
def test_overrides_that_are_none(override: str) -> None:
    with pytest.raises(UserError, match="override"):
        overridden(MINIMAL, override)


def test_an_override_below_p_random_keeps_its_name() -> None:
    assert overridden({"p_random": "sigmoid"}, "p_random.k=10") == {"p_random": {"name": "sigmoid", "k": 10}}


def test_paths_are_relative_to_the_recipe_and_overrides_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    file = tmp_path / "recipes" / "r.yaml"
    file.write_text("teacher: emoji\nstudent: b-base\ndata: {prompts: p.txt}\ntrain: {steps: 1}\n")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(file).data.prompts == str(tmp_path / "recipes" / "p.txt")
    recipe = load_recipe(
        "recipes/r.yaml", ["data.prompts=p.txt", "data.corpus={mixture: [{source: c.csv, weight: 2}]}"]
    )
    assert recipe.data.prompts == str(tmp_path / "p.txt")
    assert recipe.data.corpus == {"mixture": [{"source": str(tmp_path / "c.csv"), "weight": 2}]}


_words = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
_scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**15), 10**15), st.floats(allow_nan=False), _words)
_values = st.recursive(
    _scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(_words, v, max_size=3), max_leaves=8
)


@settings(max_examples=150, deadline=None)
@given(_values)
def test_yaml_written_is_read_back_equal(value: object) -> None:
    assert strict_yaml.parse(strict_yaml.write(value), name="x") == value


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_recipe_or_one_clear_line(text: str) -> None:
    try:
        checked(strict_yaml.parse(text, name="x"), name="x")
    except UserError as error:
        assert "\n" not in str(error)


def test_a_student_that_learned_guidance_is_sampled_without_it() -> None:
    made = checked(
        {
            **MINIMAL,
            "loss": {"guidance": 2.0},
            "compare": {"without": {"loss": {"guidance": 1.0}}},
            "evaluate": EVALUATED,
        },
        name="r",
    )
    assert own_calls(made, ["guidance_scale"]) == {"with": {"guidance_scale": 1.0}}
    assert own_calls(made) == {}
    other = checked({**MINIMAL, "evaluate": {**EVALUATED, "calls": {"witout": {}}}}, name="r")
    with pytest.raises(UserError, match=r"unknown student in evaluate.calls"):
        own_calls(other)
