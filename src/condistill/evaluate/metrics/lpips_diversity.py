"""How different do a model's images look from each other?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condistill.errors import UserError
from condistill.evaluate.metrics import Material, Measured, mean_of


@dataclass(frozen=True)
class LpipsDiversity:
    """Mean LPIPS distance (AlexNet, 64 x 64) of disjoint pairs of a model's images; bootstrap over the pairs.

    Items stand in random order, so a pair are two prompts and two seeds. It falls when a model draws everything alike;
    for the spread over seeds of one prompt, give that prompt alone and num_items.

    Source: Zhang et al. (2018).
    """

    name: str = "lpips_diversity"
    label: str = "LPIPS diversity"
    unit: str = "distance"
    higher_is_better: bool = True
    needs: Literal["features"] = "features"
    features: tuple[str, ...] = ("lpips",)

    def compute(self, material: Material) -> Measured:
        """The mean distance of the pairs.

        Raises:
            UserError: the group has fewer than two items.
        """
        distances = material.views["lpips"][:, 0]
        if not len(distances):
            raise UserError("lpips_diversity needs at least 2 images in a group; raise num_items or leave it out")
        return mean_of(distances, 2 * len(distances), material.seed)


METRIC = LpipsDiversity()
