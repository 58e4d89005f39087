"""The student of a recipe: specs as words and as mappings, checked before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from condistill.errors import UserError
from condistill.recipes.check import check
from condistill.recipes.schema import checked
from condistill.recipes.students import inspected

REST = {"teacher": "emoji", "data": {"prompts": ["a cat"]}, "train": {"steps": 10}}


@pytest.mark.parametrize(
    "spec", ["depth=1.0", {"depth": 1.0}, "depth=0.5+blocks=scored", {"depth": 0.5, "blocks": "ends"}, "width=0.5"]
)
def test_specs_of_a_recipe(spec: Any) -> None:
    recipe = checked({**REST, "student": {"spec": spec}}, name="r")
    assert recipe.student.spec == spec and check(recipe) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"depth": 0.5, "blocks": "scord"}, "did you mean 'scored'?"),
        ("depth=1.0+blocks=scored", "without a depth below 1"),
        ({"blocks": "ends"}, "without a depth below 1"),
    ],
)
def test_a_spec_nobody_understands_is_found_before_the_run(spec: Any, message: str) -> None:
    recipe = checked({**REST, "student": "b-base", "compare": {"arm": {"student": {"spec": spec}}}}, name="r")
    with pytest.raises(UserError) as caught:
        check(recipe)
    assert message in str(caught.value) and str(caught.value).startswith("compare.arm: ")


def test_blocks_of_a_unet_are_not_chosen() -> None:
    for blocks in ("ends", "scored"):
        with pytest.raises(UserError, match=f"blocks={blocks} is for stacks of alike blocks, got UNet2DConditionModel"):
            inspected("sd-v1-4", f"depth=0.5+blocks={blocks}")
