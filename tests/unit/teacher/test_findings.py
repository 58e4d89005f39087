"""What recordings say, on made-up recordings: layouts of x_t, affine times, rows of items, pictures as JSON."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image

from condistill import Teacher, UserError
from condistill.cache.values import is_plain, plain, restored
from condistill.teacher.conditions import _rest_rows, without_key
from condistill.teacher.keys import examples_among, key_names
from condistill.teacher.leaves import Rows, flatten, lists_by_item, rebuild, rows_of
from condistill.teacher.noisy import check_given, find_noisy
from condistill.teacher.parts import Parts
from condistill.teacher.recording import Watch
from condistill.teacher.running import Runner
from condistill.teacher.timing import time_maps
from tests import tiny
from tests.tiny.videos import wan

SAMPLE = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("given", "shape", "axis", "blocks"),
    [
        (SAMPLE, (4, 6, 6), None, 1),
        (0.3 * SAMPLE, (4, 6, 6), None, 1),
        (torch.cat([SAMPLE, SAMPLE]), (4, 6, 6), None, 2),
        (torch.cat([SAMPLE, torch.zeros(2, 5, 6, 6)], dim=1), (4, 6, 6), 0, 1),
        (SAMPLE.permute(0, 2, 3, 1), (6, 6, 4), None, 1),
        (SAMPLE.unsqueeze(2), (4, 1, 6, 6), None, 1),
        (list(SAMPLE.unsqueeze(2)), (4, 1, 6, 6), None, 1),
        (SAMPLE.flatten(2), (4, 36), None, 1),
    ],
    ids=["same", "scaled", "doubled", "channels", "permuted", "unsqueezed", "list", "packed"],
)
def test_x_t_is_found_in_any_layout(given: Any, shape: tuple[int, ...], axis: int | None, blocks: int) -> None:
    leaves = {"mask": torch.ones(2, 4, 6, 6), "x": given, "text": torch.randn(2, 7, 8)}
    view, found = find_noisy(leaves, SAMPLE, 2, "Net")
    assert list(found) == ["x"]
    assert (found["x"].shape, found["x"].axis, found["x"].blocks) == (shape, axis, blocks)
    assert view(SAMPLE, 2).shape == (2, *shape)


def test_frames_that_are_given_stand_in_x_t_and_stay_bound() -> None:
    video, frame = torch.randn(2, 4, 3, 6, 6), torch.randn(4, 6, 6)
    given = video.clone()
    given[:, :, 0] = frame
    _, found = find_noisy({"text": torch.randn(2, 7, 8), "sample": given}, video, 2, "Net")
    noisy = found["sample"]
    assert list(found) == ["sample"] and noisy.shape == (4, 3, 6, 6)
    x_t = torch.randn(5, 4, 3, 6, 6)
    filled = noisy.filled(x_t, noisy.extra(given)[:1].expand(5, -1, -1, -1, -1))
    assert torch.equal(filled[:, :, 1:], x_t[:, :, 1:]) and torch.equal(filled[3, :, 0], frame)
    check_given(found, [{"sample": given}, {"sample": given.clone()}], "Net")
    with pytest.raises(UserError, match="in place of x_t in argument 'sample' of Net changes"):
        check_given(found, [{"sample": given}, {"sample": 2 * given}], "Net")


def test_frames_that_are_stepped_one_by_one_are_put_together() -> None:
    video = torch.randn(2, 4, 3, 6, 6)  # (n, c, f, h, w)
    frames = video.permute(0, 2, 1, 3, 4).reshape(6, 4, 6, 6)
    view, found = find_noisy({"sample": video}, frames, 2, "Net")
    assert torch.equal(view(frames, 2), video) and found["sample"].shape == (4, 3, 6, 6)


def test_frames_that_have_schedulers_of_their_own_are_one_step() -> None:
    video, parts = torch.randn(2, 4, 3, 6, 6), Parts()  # (n, c, f, h, w)
    for k in range(3):
        given = {"timestep": torch.tensor(900), "sample": video[:, :, k]}
        scheduler = DDIMScheduler()
        assert parts.continues(scheduler, given) == (k > 0)
        parts.add(scheduler, given, 2 * video[:, :, k])
        assert not parts.continues(scheduler, given)  # its next step is a step of its own
    view, found = find_noisy({"sample": video}, parts.sample, 2, "Net")
    assert torch.equal(view(parts.sample, 2), video) and found["sample"].shape == (4, 3, 6, 6)
    assert parts.after is not None and torch.equal(view(parts.after, 2), 2 * video)
    assert not parts.continues(DDIMScheduler(), {"timestep": torch.tensor(500), "sample": video[:, :, 0]})
    parts.begin()
    assert parts.usual == 3 and not parts.is_whole


def test_what_is_not_the_sample_is_refused_with_shapes() -> None:
    with pytest.raises(UserError, match=r"no argument of Net is the scheduler's sample.*x \(2, 4, 6, 6\)"):
        find_noisy({"x": torch.randn(2, 4, 6, 6)}, SAMPLE, 2, "Net")


def test_times_are_affine_or_refused() -> None:
    times = [1000.0, 700.0, 100.0]
    frames = torch.tensor([0.0, 1.0, 1.0])  # the first frame is given
    calls = [{"t": torch.full((2,), 1 - t / 1000), "by_frame": frames.repeat(2, 1) * t} for t in times]
    found = time_maps(calls, times, {}, 2, "Net")
    t = torch.tensor([250.0, 500.0])
    torch.testing.assert_close(found["t"](t), torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(found["by_frame"](t), t[:, None] * frames)
    calls = [{"t": torch.tensor(t), "sigma": torch.tensor(t).log()} for t in times]
    with pytest.raises(UserError, match="'sigma' of Net changes from step to step"):
        time_maps(calls, times, {}, 2, "Net")


@pytest.mark.parametrize("kept_as", [torch.bfloat16, torch.float32])
def test_times_may_have_been_rounded_to_half_precision(kept_as: torch.dtype) -> None:
    times = [1000.0, 945.693, 887.835, 689.086, 441.822, 125.811]
    for scale, offset in ((0.001, 0.0), (1.0, 0.0), (-0.001, 1.0)):
        rounded = [torch.tensor([t, t]).bfloat16() for t in times]
        calls = [{"t": (scale * t + offset).to(kept_as)} for t in rounded]
        found = time_maps(calls, times, {}, 2, "Net")["t"]
        assert (found.scale, found.offset, found.dtype) == (scale, offset, kept_as)
    with pytest.raises(UserError, match="no affine map"):
        time_maps([{"t": (torch.tensor([t]) / 1000).square().bfloat16()} for t in times], times, {}, 1, "Net")


def test_a_time_may_be_an_affine_map_of_the_log_noise() -> None:
    """c_noise = log(sigma) / 4 of Karras et al., at whole steps of the scheduler and between them."""
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler()
    scheduler.set_timesteps(12)
    times = scheduler.timesteps.tolist()
    calls = [{"t": sigma.log() / 4} for sigma in scheduler.sigmas[:-1]]
    found = time_maps(calls, times, {}, 1, "Net", scheduler=scheduler)["t"]
    assert not found.is_plain
    scheduler.set_timesteps(1000)  # every step, from the last one down
    t = torch.tensor([3, 500, 999])
    torch.testing.assert_close(found(t), scheduler.sigmas[:-1].flip(0)[t].log() / 4, rtol=1e-3, atol=1e-4)
    calls = [{"t": sigma.log().sin()} for sigma in scheduler.sigmas[:-1]]
    with pytest.raises(UserError, match="or of its log noise"):
        time_maps(calls, scheduler.timesteps.tolist(), {}, 1, "Net", scheduler=scheduler)


def test_rows_follow_the_number_of_keys() -> None:
    pair, alone = torch.arange(12.0).view(12, 1), torch.arange(6.0).view(6, 1)
    rows = rows_of(pair, alone, 2)  # two blocks of guidance, three frames an item
    assert rows is not None and (rows.blocks, rows.per_item) == (2, 3)
    assert rows.item(pair, 1, 2, block=1).flatten().tolist() == [9.0, 10.0, 11.0]
    layers = rows_of(torch.zeros(5, 4, 8), torch.zeros(5, 2, 8), 2)
    assert layers is not None and layers.axis == 1
    assert layers.joined(torch.zeros(3, 5, 8)).shape == (5, 3, 8)
    assert rows_of(torch.zeros(7, 3), torch.zeros(7, 3), 1) is None
    assert lists_by_item({"x": [1, 2], "y": {"z": [[1], [2]]}}, {"x": [1], "y": {"z": [[1]]}}) == {"x", "y.z"}


def test_lists_inside_an_items_entry_are_leaves_with_an_entry_per_item() -> None:
    x, seen = [[SAMPLE[0], SAMPLE[1]], [SAMPLE[0], SAMPLE[0]]], [[SAMPLE[0], None], [SAMPLE[1], None]]
    given = {"x": x, "seen": seen, "sizes": [[(1, 2)], [(1, 2)]]}
    lists = lists_by_item(given, {name: value[:1] for name, value in given.items()})
    leaves = flatten(given, lists=lists)
    assert sorted(leaves) == ["seen.0", "seen.1", "sizes", "x.0", "x.1"]
    assert leaves["seen.1"] == [None, None] and torch.equal(leaves["x.1"][0], SAMPLE[1])
    three = {path: [*value, value[0]] for path, value in leaves.items()}
    again = rebuild(given, three, lists=lists)
    assert len(again["x"]) == 3 and torch.equal(again["x"][2][1], SAMPLE[1]) and again["seen"][2][1] is None


def test_a_watched_scheduler_keeps_its_signature() -> None:
    """Pipelines read it to decide whether a generator is passed on; without, items would share one stream of noise."""
    from diffusers import EulerAncestralDiscreteScheduler

    own = inspect.signature(EulerAncestralDiscreteScheduler.step)
    assert inspect.signature(Watch("real").step(EulerAncestralDiscreteScheduler)) == own
    pipeline = tiny.sd(scheduler=EulerAncestralDiscreteScheduler())
    teacher = Teacher.from_pipeline(pipeline)
    call = {"num_inference_steps": 3}
    whole = teacher.sample(["a", "b"], seed=[1, 2], call=call, output="latent").latents
    single = teacher.sample(["b"], seed=[2], call=call, output="latent").latents
    torch.testing.assert_close(whole[1:], single, rtol=1e-3, atol=1e-3)


def test_pictures_and_tensors_come_back_from_json() -> None:
    picture = Image.new("RGB", (4, 3), (10, 20, 30))
    back = restored(plain({"image": picture, "embeds": torch.ones(1, 2, dtype=torch.float16), "n": [1, "a"]}))
    assert back["image"].size == (4, 3) and back["image"].getpixel((1, 1)) == (10, 20, 30)
    assert torch.equal(back["embeds"], torch.ones(1, 2, dtype=torch.float16)) and back["n"] == [1, "a"]
    assert is_plain({"a": [1, None]}) and not is_plain({"image": picture})
    with pytest.raises(TypeError, match="cannot be kept"):
        plain(object())


def test_a_record_of_diffusers_comes_back_from_json_and_no_other() -> None:
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    given = LTX2VideoCondition(frames=Image.new("RGB", (4, 3)), index=2)
    back = restored(plain({"conditions": [given]}))["conditions"][0]
    assert isinstance(back, LTX2VideoCondition) and back.index == 2 and back.frames.size == (4, 3)
    for module, name in (("subprocess", "Popen"), ("diffusers.utils", "logging")):
        with pytest.raises(UserError, match="no record of diffusers"):
            restored({"$record": [module, name, {}]})


def test_keys_say_what_belongs_to_them() -> None:
    assert key_names({"prompt": "a", "negative_prompt": "b"}) == {"prompt"} == key_names("a")
    assert examples_among(["a", "a"]) is None
    assert examples_among(["a", "a", "b"]) == ("a", "b", "a")


def test_keys_to_calibrate_with_must_differ() -> None:
    with pytest.raises(UserError, match="no two different ones"):
        Teacher.from_pipeline(tiny.sd(), keys=["a", "a"])
    assert Teacher.from_pipeline(tiny.sd(), keys=["a fox", "b"]).calibration.keys == ("a fox", "b", "a fox")


def test_a_pipeline_that_needs_arguments_waits_for_the_call_that_brings_them(tmp_path: Any) -> None:
    from condistill import generate
    from tests.tiny.catalogue import catalogue

    case = catalogue()["kandinsky21"]
    teacher = Teacher.from_pipeline(case.build())
    with pytest.raises(UserError, match=r"could not be run with example keys.*call="):
        teacher.encode(list(case.keys[:1]))
    cache = generate(teacher, list(case.keys), out=tmp_path / "d", call={**case.call(), "num_inference_steps": 2})
    assert len(cache) == 3


class Stubborn(StableDiffusionPipeline):
    """Complains of something else than its arguments' sizes."""

    heights: ClassVar[list[int]] = []

    def __call__(self, prompt: str, image: Any, height: int = 720, width: int = 1280) -> None:
        """Nothing."""
        self.heights.append(height)
        raise ValueError("features and tokens do not match")


def test_a_large_size_is_not_tried_where_small_ones_say_the_same() -> None:
    pipeline = tiny.sd()
    pipeline.__class__ = Stubborn
    with pytest.raises(UserError, match="could not be run with example keys"):
        _ = Teacher.from_pipeline(pipeline).calibration
    assert 64 in Stubborn.heights and 720 not in Stubborn.heights


def test_a_long_video_is_calibrated_short_until_a_call_says_its_size() -> None:
    teacher = Teacher.from_pipeline(wan())
    assert teacher.calibration.is_small and teacher.latent_shape == (16, 3, 8, 8)
    called = teacher.with_call({"height": 16, "width": 32, "num_frames": 5, "num_inference_steps": 2})
    assert not called.calibration.is_small and called.latent_shape == (16, 2, 2, 4)
    assert called.with_call({"height": 16, "width": 32, "num_frames": 5}) is called
    # what a call leaves unsaid is the pipeline's own
    assert teacher.with_call({"height": 16, "width": 16}).latent_shape == (16, 21, 2, 2)


def test_a_text_encoder_that_was_left_in_training_reads_a_key_the_same_every_time() -> None:
    pipeline = tiny.sd()
    pipeline.text_encoder.train()
    for part in pipeline.text_encoder.modules():
        if hasattr(part, "dropout"):
            part.dropout = 0.5
    teacher = Teacher.from_pipeline(pipeline)
    fresh = Teacher(pipeline, "unet", teacher.calibration)
    whole, alone = teacher.encode(["a red fox", "two ships"]), fresh.encode(["two ships"])
    torch.testing.assert_close(whole.leaves["encoder_hidden_states"][1:], alone.leaves["encoder_hidden_states"])


def test_texts_that_are_cut_before_they_differ_are_a_reason() -> None:
    runner = Runner(tiny.dit(), "transformer", {"max_sequence_length": 16, "height": 8})
    assert "where max_sequence_length=16 cuts the texts before they differ, give more" in without_key(runner)
    assert "needs a conditional pipeline" in without_key(runner.with_call(max_sequence_length=None))


def test_parts_of_a_nested_sequence_have_rows_together_or_not_at_all() -> None:
    # rotary tables of two frames, and the positions in them: two rows are no guidance's two blocks there
    tables = {"rope.0.0.0": torch.randn(2, 4), "rope.0.0.1": torch.randn(2, 4), "rope.1.0": torch.zeros(1, 8)}
    leaves = {**tables, "size": torch.zeros(2, 6)}
    found = SimpleNamespace(runner=SimpleNamespace(single=True), rows_per_item=lambda path: 1)
    rows = {path: _rest_rows(found, SimpleNamespace(pair=leaves), path, 2) for path in leaves}  # type: ignore[arg-type]
    assert rows.pop("size") == Rows(blocks=2) and set(rows.values()) == {None}


@pytest.mark.parametrize("component", [None, "unet"])
def test_a_pipeline_without_a_loop_is_refused(component: str | None) -> None:
    from diffusers import DiffusionPipeline

    class NoLoop(DiffusionPipeline):
        def __init__(self, unet: Any):
            super().__init__()
            self.register_modules(unet=unet)

        def __call__(self, prompt: str) -> None:
            """Nothing."""

    with pytest.raises(UserError, match="no scheduler, so no denoising loop"):
        Teacher.from_pipeline(NoLoop(tiny.sd().unet), component)
