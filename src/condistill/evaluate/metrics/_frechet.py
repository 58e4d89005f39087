"""The Frechet distance of features to a reference, with its interval: one computation for every network."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from condistill.errors import UserError
from condistill.evaluate.metrics import Material, Measured, View, around
from condistill.maths.distances import Gaussian, frechet_to, frechet_to_gaussian, resamples

_NUM_RESAMPLES = 200  # an eigendecomposition each; 200 are enough for a 95 % interval to two digits


def measured(name: str, features: Float[np.ndarray, "n d"], reference: View, seed: int) -> Measured:
    """The distance to the reference.

    Args:
        name: of the metric, for messages.
        features: of the images.
        reference: features of the reference images, or their Gaussian.
        seed: of the resampling.

    Raises:
        UserError: fewer than two images, or a reference of another number of dimensions.
    """
    features = np.asarray(features, dtype=np.float64)
    count = 2 if isinstance(reference, Gaussian) else len(reference)
    if len(features) < 2 or count < 2:
        raise UserError(
            f"{name} needs at least 2 images in a group, got {len(features)} and {count} of "
            "reference; raise num_items or leave the metric out"
        )
    wanted = len(reference.mu) if isinstance(reference, Gaussian) else reference.shape[1]
    if features.shape[1] != wanted:
        raise UserError(
            f"{name} takes {features.shape[1]} features, the reference has {wanted}; use statistics made with the same "
            "network, or a folder of images"
        )
    distance = frechet_to_gaussian(reference) if isinstance(reference, Gaussian) else frechet_to(reference)
    rows = resamples(len(features), seed, num_resamples=_NUM_RESAMPLES)
    resampled = np.array([distance(features[row]) for row in rows])
    return around(distance(features), resampled, len(features))


def of_view(name: str, feature: str, material: Material) -> Measured:
    """The distance of one backbone's features to those of the reference images.

    Raises:
        UserError: the group has no common reference.
    """
    return measured(name, material.views[feature], reference_of(name, feature, material), material.seed)


def reference_of(name: str, feature: str, material: Material) -> View:
    """What a metric compares with.

    Raises:
        UserError: the group has no common reference: the union of groups whose statistics differ.
    """
    if feature not in material.view_references:
        raise UserError(
            f"{name} has no reference for the union of the groups: statistics cannot be joined; give the group 'all' "
            "a reference of its own, or folders of images instead"
        )
    return material.view_references[feature]


def images_of(name: str, feature: str, material: Material) -> Float[np.ndarray, "m d"]:
    """The reference's features, one row per image.

    Raises:
        UserError: only its Gaussian is known.
    """
    reference = reference_of(name, feature, material)
    if isinstance(reference, Gaussian):
        raise UserError(
            f"{name} compares single images, and the reference holds only their mean and covariance; give a folder of "
            "images as --reference, or leave the metric out"
        )
    return np.asarray(reference, dtype=np.float64)
