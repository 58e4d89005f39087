"""A recorded teacher is the pipeline: encode, predict and sample agree with it, and nothing is left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from condistill import Teacher, UserError
from condistill.world import exact
from tests import tiny

KEYS: dict[str, list[Any]] = {
    "sd": ["a fox", "two dogs", ""],
    "sdxl": ["a fox", "two dogs", ""],
    "dit": [1, 5, 1000],
    "exact": ["gaussian 1", "gaussian 2", ""],
}
BUILD: dict[str, Callable[[], Any]] = {
    "sd": tiny.sd,
    "sdxl": tiny.sdxl,
    "dit": tiny.dit,
    "exact": lambda: exact.pipeline_of(4),
}


@pytest.fixture(scope="module", params=BUILD)
def teacher(request: pytest.FixtureRequest) -> Teacher:
    found = Teacher.from_pipeline(BUILD[request.param]())
    found.keys = KEYS[request.param]  # type: ignore[attr-defined]
    return found


def keys_of(teacher: Teacher) -> list[Any]:
    return teacher.keys  # type: ignore[attr-defined]


def test_batched_encode_equals_single_encode(teacher: Teacher) -> None:
    keys = keys_of(teacher)
    fresh = Teacher.from_pipeline(teacher.pipeline)
    whole, single = fresh.encode(keys), [teacher.encode([key]) for key in keys]
    assert len(whole) == len(keys)
    for path, rows in whole.leaves.items():
        # float32 on a batch of another size: summation order may differ in the last bits
        torch.testing.assert_close(rows, torch.cat([one.leaves[path] for one in single]), rtol=1e-5, atol=1e-6)


def test_another_key_changes_its_row_and_no_other(teacher: Teacher) -> None:
    a, b, c = keys_of(teacher)
    before, after = teacher.encode([a, b]), teacher.encode([a, c])
    changed = [path for path in before.leaves if not torch.equal(before.leaves[path][1], after.leaves[path][1])]
    assert changed == list(before.leaves)
    for path in before.leaves:
        assert torch.equal(before.leaves[path][0], after.leaves[path][0])
    for path in before.bound:
        assert torch.equal(before.bound[path], after.bound[path])


def test_predict_is_independent_of_the_batch(teacher: Teacher) -> None:
    keys = keys_of(teacher)
    x_t, t = torch.randn(3, *teacher.latent_shape), torch.tensor([10, 500, 990])
    with torch.no_grad():
        whole = teacher.predict(x_t, t, teacher.encode(keys))
        single = teacher.predict(x_t[1:2], t[1:2], teacher.encode(keys[1:2]))
    torch.testing.assert_close(whole[1:2], single, rtol=1e-4, atol=1e-5)
    assert not torch.equal(whole[0], whole[1])


def test_predict_takes_one_time_for_all_and_counts_its_arguments(teacher: Teacher) -> None:
    x_t, condition = torch.randn(3, *teacher.latent_shape), teacher.encode(keys_of(teacher))
    with torch.no_grad():
        wanted = teacher.predict(x_t, torch.tensor([500] * 3), condition)
        for one in (500, torch.tensor(500), torch.tensor([500])):
            torch.testing.assert_close(teacher.predict(x_t, one, condition), wanted, rtol=0, atol=0)
    for times, samples in ((torch.tensor([1, 2]), 3), (500, 2)):
        with pytest.raises(UserError, match=rf"{samples} samples x_t, . times t and 3 conditions"):
            teacher.predict(x_t[:samples], times, condition)


def test_an_item_of_a_sample_depends_on_its_seed_and_key_alone(teacher: Teacher) -> None:
    keys, call = keys_of(teacher), {"num_inference_steps": 3}
    whole = teacher.sample(keys, seed=[7, 8, 9], call=call, output="latent")
    single = teacher.sample(keys[1:2], seed=[8], call=call, output="latent")
    assert whole.latents.shape == (3, *teacher.latent_shape)
    torch.testing.assert_close(whole.latents[1:2], single.latents, rtol=1e-4, atol=1e-4)
    split = teacher.sample(keys, seed=[7, 8, 9], call=call, output="latent", batch=2)
    torch.testing.assert_close(split.latents, whole.latents, rtol=1e-4, atol=1e-4)


def test_global_random_state_is_left_alone(teacher: Teacher) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Teacher.from_pipeline(teacher.pipeline).encode(keys_of(teacher))
    teacher.sample(keys_of(teacher), call={"num_inference_steps": 2}, output="latent")
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_is_left_on_the_pipeline(teacher: Teacher) -> None:
    teacher.sample(keys_of(teacher), call={"num_inference_steps": 2}, output="latent")
    assert "forward" not in vars(teacher.network)
    assert "step" not in vars(teacher.pipeline.scheduler)
    assert not teacher.network._forward_hooks


def test_encode_is_what_the_pipeline_itself_computes() -> None:
    pipeline = tiny.sd()
    teacher = Teacher.from_pipeline(pipeline)
    own, _ = pipeline.encode_prompt("a fox", "cpu", 1, False)
    assert torch.equal(teacher.encode(["a fox"]).leaves["encoder_hidden_states"], own)
    x_t, t = torch.randn(1, 4, 8, 8), torch.tensor([321])
    with torch.no_grad():
        direct = pipeline.unet(x_t, 321, own).sample
        assert torch.equal(teacher.predict(x_t, t, teacher.encode(["a fox"])), direct)


def test_a_sample_is_what_the_pipeline_itself_draws() -> None:
    pipeline = tiny.sd()
    teacher = Teacher.from_pipeline(pipeline)
    found = teacher.sample(["a fox"], seed=[5], call={"num_inference_steps": 4})
    from condistill.maths.draws import generator

    pipeline.set_progress_bar_config(disable=True)
    own = pipeline(["a fox"], num_inference_steps=4, generator=[generator(5, "sample", 0)], output_type="np").images
    assert found.images is not None and (found.images == own).all()


@pytest.mark.parametrize("build", [tiny.sd, tiny.sdxl])
def test_a_negative_prompt_of_the_call_is_every_keys(build: Callable[[], Any]) -> None:
    pipeline = build()
    call = {"num_inference_steps": 2, "guidance_scale": 5.0}
    teacher = Teacher.from_pipeline(pipeline)
    found = teacher.sample(["a fox", "two dogs"], seed=3, call={**call, "negative_prompt": "ugly"}).latents
    each = [{"prompt": prompt, "negative_prompt": "ugly"} for prompt in ("a fox", "two dogs")]
    assert torch.equal(found, teacher.sample(each, seed=3, call=call).latents)
    assert not torch.equal(found, teacher.sample(["a fox", "two dogs"], seed=3, call=call).latents)


def test_sdxl_condition_has_everything_that_belongs_to_the_prompt() -> None:
    teacher = Teacher.from_pipeline(tiny.sdxl())
    assert set(teacher.calibration.key_paths) == {"encoder_hidden_states", "added_cond_kwargs.text_embeds"}
    assert set(teacher.calibration.bound) == {"added_cond_kwargs.time_ids"}


def test_sdxl_null_condition_is_the_one_that_guidance_uses() -> None:
    """SDXL's pipeline zeroes the embeddings of an empty negative prompt; encoding "" would give others."""
    teacher = Teacher.from_pipeline(tiny.sdxl())
    null = teacher.encode([""])
    assert all((rows == 0).all() for rows in null.leaves.values())


def test_class_conditional_null_is_the_extra_class() -> None:
    teacher = Teacher.from_pipeline(tiny.dit())
    assert teacher.null_key == 1000
    assert teacher.encode([3, 1000]).leaves["class_labels"].tolist() == [3, 1000]


def test_saved_teacher_has_the_same_hash(tmp_path: Path) -> None:
    teacher = Teacher.from_pipeline(tiny.sd())
    teacher.save(tmp_path / "t")
    assert Teacher.load(tmp_path / "t").hash == teacher.hash
    assert Teacher.from_pipeline(tiny.sd(seed=1)).hash != teacher.hash


def test_what_is_saved_does_not_depend_on_what_was_encoded(tmp_path: Path) -> None:
    teacher = Teacher.from_pipeline(tiny.sd())
    teacher.save(tmp_path / "before")
    for padding in ("longest", "max_length"):
        teacher.pipeline.tokenizer(["a", "a cat"], padding=padding, truncation=True)
        teacher.save(tmp_path / padding)
        for file in (tmp_path / "before").rglob("*"):
            other = tmp_path / padding / file.relative_to(tmp_path / "before")
            assert file.is_dir() or other.read_bytes() == file.read_bytes(), file.name


def test_with_network_leaves_the_teacher_as_it_is() -> None:
    teacher = Teacher.from_pipeline(tiny.sd())
    other = tiny.sd(seed=1).unet
    student = teacher.with_network(other)
    assert student.network is other and teacher.network is not other
    assert student.pipeline.scheduler is not teacher.pipeline.scheduler
    assert student.pipeline.vae is teacher.pipeline.vae


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no/such/folder", "no such pipeline folder"),
        ("emojy", "did you mean 'emoji'"),
        (".", "no model_index.json"),
    ],
)
def test_what_is_no_pipeline_is_refused(name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        Teacher.load(name)
    assert words in str(error.value)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    tiny.sd().save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(UserError, match="pickled weights are refused"):
        Teacher.load(tmp_path)


def test_broken_index_is_refused(tmp_path: Path) -> None:
    for text, said in (("{ not json", "is not readable as JSON"), ("[]", "names no pipeline class")):
        (tmp_path / "model_index.json").write_text(text)
        with pytest.raises(UserError, match=said):
            Teacher.load(tmp_path)


def test_parts_and_tensors_that_no_file_holds_are_named(tmp_path: Path) -> None:
    """A tokenizer without its folder loads and is empty, and weights of other names stay unset."""
    tiny.sd().save_pretrained(tmp_path)
    weights = tmp_path / "unet/diffusion_pytorch_model.safetensors"
    save_file({f"model.{name}": value for name, value in load_file(weights).items()}, weights)
    with pytest.raises(UserError, match=r"the files of unet hold no tensor 'conv_in\.weight'"):
        Teacher.load(tmp_path)
    shutil.rmtree(tmp_path / "tokenizer")
    with pytest.raises(UserError, match=r"has no folder tokenizer, which its model_index\.json names"):
        Teacher.load(tmp_path)


def test_a_lying_header_is_told_from_an_incomplete_folder(tmp_path: Path) -> None:
    tiny.sd().save_pretrained(tmp_path)
    weights = tmp_path / "vae/diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes((2**40).to_bytes(8, "little") + whole[8:])
    with pytest.raises(UserError, match=rf"; {weights} is damaged or no safetensors .*header.*: fetch or save"):
        Teacher.load(tmp_path)
    weights.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=rf"; {weights} is damaged .*: fetch or save"):
        Teacher.load(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match="; the folder may be incomplete"):
        Teacher.load(tmp_path)


def test_unknown_component_is_named() -> None:
    with pytest.raises(UserError, match=r"no network 'transformer'.*unet"):
        Teacher.from_pipeline(tiny.sd(), component="transformer")


def test_component_that_is_not_the_denoiser_is_refused() -> None:
    with pytest.raises(UserError, match="component="):
        Teacher.from_pipeline(tiny.sd(), component="vae")


def test_keys_of_the_wrong_kind_are_named() -> None:
    teacher = Teacher.from_pipeline(tiny.sd())
    with pytest.raises(UserError, match="class_labels"):
        teacher.encode([3])
    with pytest.raises(UserError, match="takes no argument 'promt'"):
        teacher.encode([{"promt": "x"}])
    with pytest.raises(UserError, match="2 keys but 1 seeds"):
        teacher.sample(["a", "b"], seed=[1])


@pytest.mark.parametrize(
    ("keys", "call", "words"),
    [
        (["a fox"], {"guidence_scale": 2.0}, "did you mean 'guidance_scale'"),  # swallowed by the pipeline itself
        (["a fox"], {"num_inference_steps": 0}, "could not sample with num_inference_steps=0"),
        (["a fox"], {"num_inference_steps": "two"}, "could not sample with num_inference_steps='two'"),
        (["a fox"], {"prompt": "a dog"}, "call says 'prompt', which the keys say as well"),
        (["a fox"], {"num_images_per_prompt": 2}, "makes several samples of one key"),
        (["a fox"], {"generator": 3}, "got generator=3 in the call, but every item has its own; give seed= instead"),
        ([], {}, "sample got no keys"),
    ],
)
def test_a_call_that_the_pipeline_does_not_take_is_refused(keys: list[str], call: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Teacher.from_pipeline(tiny.sd()).sample(keys, call=call)


def test_pictures_are_had_from_a_pipeline_that_answers_with_a_tuple() -> None:
    call = {"num_inference_steps": 1, "height": 16, "width": 16, "return_dict": False}
    images = Teacher.from_pipeline(tiny.sd()).sample(["a fox"], call=call).images
    assert images is not None and images.shape == (1, 16, 16, 3)


def test_a_call_is_checked_before_anything_is_recorded() -> None:
    with pytest.raises(UserError, match="did you mean 'guidance_scale'"):
        Teacher.from_pipeline(tiny.sd(), call={"guidence_scale": 2.0})


def test_keys_may_be_mappings_of_call_arguments() -> None:
    teacher = Teacher.from_pipeline(tiny.sd())
    found = teacher.encode([{"prompt": "a fox"}, {"prompt": "b"}])
    own = teacher.encode(["a fox", "b"])
    assert torch.equal(found.leaves["encoder_hidden_states"], own.leaves["encoder_hidden_states"])


def test_calibration_logs_nothing_about_its_example_keys(caplog: pytest.LogCaptureFixture) -> None:
    short = tiny.sd()
    assert short.tokenizer.model_max_length < 30, "the example keys must be too long for this to show anything"
    Teacher.from_pipeline(short)
    assert "truncated" not in caplog.text
    short.encode_prompt("a b c d e f g h i j k l m n o p q r s t u v w x y z", "cpu", 1, False)
    assert "truncated" in caplog.text
