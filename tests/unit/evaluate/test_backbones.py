"""Backbones see what their libraries see by hand; weights that are missing, wrong or pickled are refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoTokenizer, CLIPModel, Dinov2Model

from condistill.errors import UserError
from condistill.evaluate.backbones import WANTED, load_all
from condistill.evaluate.backbones.clip import OPENAI_MEAN, OPENAI_STD
from condistill.evaluate.pictures import resized
from tests.unit.evaluate import networks

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3)).astype(np.uint8)
PROMPTS = ["a fox", "a panda on a green background", "b"]


def seen(name, place, features, images=IMAGES, keys=PROMPTS):
    (backbone,) = load_all(features, {name: place}, CPU)
    found = backbone.features(images, keys, frozenset(features))
    return backbone.finished(found) if hasattr(backbone, "finished") else found


def normalised(size, mean, std, images=IMAGES):
    """As the image processors of these networks do it, spelled out."""
    scaled = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in images]
    pixels = (np.stack(scaled) / 255 - np.array(mean)) / np.array(std)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


def test_clip_of_transformers_by_hand(tmp_path):
    folder = networks.clip(tmp_path / "clip")
    found = seen("clip", folder, ["clip", "clip_text"])
    model, words = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = words(PROMPTS, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    with torch.no_grad():
        whole = model(**ids, pixel_values=normalised(16, OPENAI_MEAN, OPENAI_STD))
    cosines = whole.logits_per_image.diagonal() / model.logit_scale.exp()
    ours = (found["clip"] * found["clip_text"]).sum(axis=1)
    np.testing.assert_allclose(ours, cosines.detach(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found["clip"], axis=1), 1, atol=1e-6)


def test_clip_of_open_clip_by_hand(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    folder = networks.open_clip_folder(tmp_path / "open", open_clip)
    found = seen("clip", folder, ["clip", "clip_text"])
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    words = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.no_grad():
        images = model.encode_image(torch.stack([preprocess(Image.fromarray(image)) for image in IMAGES]))
        texts = model.encode_text(words(PROMPTS))
    for name, wanted in (("clip", images), ("clip_text", texts)):
        np.testing.assert_allclose(found[name], wanted / wanted.norm(dim=-1, keepdim=True), atol=1e-6)


def test_dino_by_hand(tmp_path):
    folder = networks.dino(tmp_path / "dino")
    found = seen("dino", folder, ["dino"])["dino"]
    pixels = normalised(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        wanted = Dinov2Model.from_pretrained(folder).eval()(pixel_values=pixels).last_hidden_state[:, 0]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(networks.inception_tensors(module), path)
    return module, path


def test_inception_has_the_logits_of_torch_fidelity_and_the_input_of_pytorch_fid(inception):
    module, path = inception
    found = seen("inception", path, ["inception", "inception_logits"])
    network = module.FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], feature_extractor_weights_path=path)
    _, logits = network(torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    np.testing.assert_array_equal(found["inception_logits"], logits)
    # at 299 x 299 nothing is scaled, and the two inputs differ by 2 x / 255 - 1 against x / 128 - 1 alone
    large = resized(IMAGES[:1], 299)
    pool, _ = network(torch.from_numpy(large).permute(0, 3, 1, 2))
    ours = seen("inception", path, ["inception"], images=large)["inception"]
    assert ours.shape == (1, 2048) and found["inception"].std() > 0.01
    np.testing.assert_allclose(ours, pool, atol=0.02 * float(pool.abs().max()))


def test_only_the_features_that_are_wanted_are_computed(inception):
    assert list(seen("inception", inception[1], ["inception"])) == ["inception"]


def test_lpips_is_torchmetrics_on_pairs(tmp_path):
    models = pytest.importorskip("torchvision.models")
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    tensors = networks.alexnet_tensors(models)
    save_file(tensors, tmp_path / "alexnet.safetensors")
    images = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    found = seen("lpips", tmp_path / "alexnet.safetensors", ["lpips"], images=images)["lpips"]
    network = _NoTrainLpips(net="alex", pnet_rand=True)
    slices = network.net.state_dict()
    network.net.load_state_dict({name: tensors[f"features.{name.split('.', 1)[1]}"] for name in slices})
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    wanted = network(pixels[[0, 2]], pixels[[1, 3]], normalize=True).flatten()
    np.testing.assert_allclose(found[:, 0], wanted.detach(), rtol=1e-5)
    assert found.shape == (2, 1)  # the fifth image has no partner


def test_weights_that_were_not_named_are_asked_for():
    with pytest.raises(UserError, match=r"--backbone inception=PATH .* pt_inception-2015-12-05-6726825d.pth"):
        load_all(["inception"], {}, CPU)
    with pytest.raises(UserError, match="did you mean 'inception'"):
        load_all([], {"inceptoin": "x"}, CPU)


def test_a_folder_of_pickles_is_refused_and_the_named_file_is_read_as_plain_tensors(tmp_path, inception):
    folder = tmp_path / "pickled"
    folder.mkdir()
    torch.save({"a": torch.zeros(1)}, folder / "model.bin")
    with pytest.raises(UserError, match=r"pickled weights only \(model.bin\), and a pickle can run code"):
        load_all(["dino"], {"dino": folder}, CPU)
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return ran.touch, ()

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="holds no plain weights"):
        load_all(["inception"], {"inception": tmp_path / "evil.pth"}, CPU)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_a_folder_without_anything_says_what_is_wanted(name, tmp_path):
    with pytest.raises(UserError, match="holds no weights; wanted"):
        load_all([name], {name: tmp_path}, CPU)
    with pytest.raises(UserError, match="no such file or folder"):
        load_all([name], {name: tmp_path / "none"}, CPU)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError):
        load_all([name], {name: tmp_path}, CPU)


def test_weights_of_another_network_are_refused(tmp_path, inception):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="is not the FID network"):
        load_all(["inception"], {"inception": tmp_path / "other.safetensors"}, CPU)


def test_clip_wants_prompts(tmp_path):
    folder = networks.clip(tmp_path / "clip")
    with pytest.raises(UserError, match="compares images with prompts"):
        seen("clip", folder, ["clip_text"], keys=[1, 2, 3])
    same = seen("clip", folder, ["clip_text"], keys=[{"prompt": prompt, "other": 1} for prompt in PROMPTS])
    np.testing.assert_array_equal(same["clip_text"], seen("clip", folder, ["clip_text"])["clip_text"])


def test_every_backbone_says_which_file_it_wants():
    assert all(len(text) > 20 for text in WANTED.values())
