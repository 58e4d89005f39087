"""Recipes: YAML to checked objects, and what the verbs do with them."""

from condistill.recipes.arms import Arm, arms
from condistill.recipes.check import check
from condistill.recipes.dump import claim, dump_recipe
from condistill.recipes.load import find, load_recipe, shipped
from condistill.recipes.schema import Recipe

__all__ = ["Arm", "Recipe", "arms", "check", "claim", "dump_recipe", "find", "load_recipe", "shipped"]
