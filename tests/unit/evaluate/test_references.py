"""References from folders, statistics and arrays are one thing to the metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from condistill.errors import UserError
from condistill.evaluate.backbones import load_all
from condistill.evaluate.references import given, views
from condistill.maths.distances import Gaussian, moments
from tests.unit.evaluate import networks

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for k, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def looked(reference, tmp_path, *, size=None, batch=2):
    place = tmp_path / "network"
    backbones = load_all(["dino"], {"dino": place if place.exists() else networks.dino(place)}, torch.device("cpu"))
    return views(reference, backbones, frozenset({"dino"}), size=size, batch=batch)["dino"]


def test_a_folder_is_its_images_whatever_the_batch(folder):
    one = given(folder, ["a", "b"])
    assert one["a"] is one["b"] is one["all"] and one["a"].identity.startswith("5 images, sha256 ")
    arrays = given({"a": IMAGES / 255}, ["a"])["a"]
    found = [looked(one["a"], folder, batch=batch) for batch in (1, 2, 16)]
    for other in (*found, looked(arrays, folder)):
        np.testing.assert_allclose(other, found[0], atol=1e-5)


def test_images_of_several_sizes_are_brought_to_one(folder):
    Image.fromarray(IMAGES[0]).resize((40, 30)).save(folder / "9.png")
    reference = given(folder, ["a"])["a"]
    assert looked(reference, folder, size=16, batch=4).shape == (6, 8)
    assert looked(reference, folder, batch=4).shape == (6, 8)
    with pytest.raises(UserError, match="images of one size"):
        reference.all_images()


def test_statistics_come_back_as_they_were_written(tmp_path):
    features = np.random.default_rng(1).normal(size=(30, 4))
    mu, sigma = moments(features)
    np.savez(tmp_path / "real.npz", mu=mu, sigma=sigma)
    reference = given(tmp_path / "real.npz", ["a"])["a"]
    found = views(reference, [], frozenset({"inception"}), size=None, batch=1)["inception"]
    assert isinstance(found, Gaussian)
    np.testing.assert_array_equal(found.mu, mu)
    np.testing.assert_array_equal(found.sigma, sigma)
    with pytest.raises(UserError, match="clip is wanted as well; give a folder"):
        views(reference, [], frozenset({"inception", "clip"}), size=None, batch=1)


def test_an_archive_of_images_is_a_reference_per_group(tmp_path):
    np.savez(tmp_path / "images.npz", a=IMAGES, b=IMAGES[:2])
    found = given(tmp_path / "images.npz", ["a", "b"])
    assert [len(found[group]) for group in "ab"] == [5, 2]
    np.testing.assert_allclose(found["b"].all_images(), IMAGES[:2] / 255, atol=1e-7)


def test_what_is_no_reference_is_refused(tmp_path, folder):
    with pytest.raises(UserError, match="no such reference file"):
        given(tmp_path / "none.npz", ["a"])
    with pytest.raises(UserError, match="no images for group 'b'"):
        given({"a": folder}, ["a", "b"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in"):
        given(tmp_path / "empty", ["a"])
    np.savez(tmp_path / "wrong.npz", mu=np.zeros(3), sigma=np.zeros((2, 2)))
    with pytest.raises(UserError, match=r"\(d,\) and \(d, d\) are wanted"):
        given(tmp_path / "wrong.npz", ["a"])
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="cannot be read as an image"):
        given(folder, ["a"])["a"].all_images()


def test_an_archive_of_a_later_kind_is_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", mu=np.zeros(2), sigma=np.eye(2))
    content = bytearray((tmp_path / "images.npz").read_bytes())
    at = content.rindex(b"PK\x01\x02") + 6  # the version that is needed, in the directory
    content[at : at + 2] = (109).to_bytes(2, "little")
    (tmp_path / "images.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"is no \.npz archive of images \(zip file version 10\.9\)"):
        given(tmp_path / "images.npz", ["all"])
