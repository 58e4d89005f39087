"""The tones world: its sentences, its true sounds, its judge, its codec, a training far too short, and what ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from condistill.corpus import corpus
from condistill.errors import UserError
from condistill.maths import draws
from condistill.world import tones
from condistill.world.tones import codec, listen, render, train


@pytest.fixture(scope="module")
def true():
    """Sounds, and what they are: two new takes of each, of other seeds than the judge's."""
    sounds = np.repeat(render.all_sounds(), 2, axis=0)
    return render.render(sounds, seed=5, samples=draws.numbers(0, len(sounds))), sounds


def test_every_prompt_says_what_it_asks_for():
    prompts = tones.prompts("all")
    assert len(prompts) == len(set(prompts)) == len(render.all_sounds()) == 288
    assert [tones.parse(prompt) for prompt in prompts] == [tuple(row[:2]) for row in render.all_sounds().tolist()]
    assert tones.parse("A Low Trumpet, playing") == tones.parse(tones.caption(0, 1, 3))


def test_a_third_of_the_timbres_is_unseen_and_no_seen_prompt_names_one():
    seen, unseen = tones.prompts("seen"), tones.prompts("unseen")
    assert len(unseen) * 2 == len(seen)
    hidden = [timbre.name for timbre in tones.TIMBRES if not timbre.seen]
    assert not [prompt for prompt in seen if any(name in prompt for name in hidden)]
    assert list(corpus({"world": "tones", "group": "unseen"})) == unseen


def test_what_is_no_sentence_of_the_world_is_refused():
    with pytest.raises(UserError, match="no timbre"):
        tones.parse("a low zither")
    with pytest.raises(UserError, match="no pitch"):
        tones.parse("a trumpet")
    with pytest.raises(UserError, match="seen"):
        tones.prompts("sen")


def test_takes_differ_and_are_a_function_of_their_number(true):
    sounds, what = true
    assert sounds.shape == (576, render.LENGTH) and np.abs(sounds).max() <= 1.0
    assert np.abs(sounds[0] - sounds[1]).max() > 0.01
    again = render.render(what[7:8], seed=5, samples=np.array([7]))
    np.testing.assert_array_equal(again[0], sounds[7])


def test_the_judge_knows_true_sounds_and_their_pitch(true):
    sounds, what = true
    judged = tones.judge()(sounds)
    assert (judged.timbre == what[:, 0]).mean() > 0.99
    assert (judged.pitch == what[:, 1]).mean() > 0.99


def test_the_judge_hears_nothing_in_noise_silence_and_patchwork(true):
    sounds, _ = true
    generator = np.random.default_rng(0)
    noise = 0.2 * generator.standard_normal((64, render.LENGTH))
    half = render.LENGTH // 2
    patchwork = np.concatenate([sounds[:, :half], generator.permutation(sounds)[:, half:]], axis=1)
    # of short notes the second half is silence: one in four patchworks is a sound, or nearly
    for messes, share in ((noise, 1.0), (np.zeros((2, render.LENGTH)), 1.0), (patchwork, 0.7)):
        assert (tones.judge()(messes).timbre == listen.NOTHING).mean() >= share


def test_the_judge_refuses_other_sounds():
    with pytest.raises(UserError, match="4096"):
        tones.judge()(np.zeros((1, 100)))


def test_the_transform_is_orthonormal_over_frames_that_overlap():
    basis, frame = codec.transform(), render.FRAME
    np.testing.assert_allclose(basis @ basis.T, np.eye(frame), atol=1e-12)
    np.testing.assert_allclose(basis[:, frame:] @ basis[:, :frame].T, np.zeros((frame, frame)), atol=1e-12)


def test_the_network_is_the_transform_and_the_judge_knows_what_it_decodes(true):
    sounds, what = true
    made = codec.fit_codec(sounds)
    latents = codec.encode(made, sounds)
    assert latents.shape == (576, codec.CHANNELS, render.NUM_FRAMES)
    torch.testing.assert_close(latents.std(dim=(0, 2), correction=0), torch.ones(codec.CHANNELS), atol=1e-3, rtol=0)
    with torch.no_grad():
        whole = made.encode(torch.from_numpy(sounds[:2, None])).latent_dist.mode()
    torch.testing.assert_close(whole, latents[:2], atol=1e-4, rtol=1e-4)
    judged = tones.judge()(codec.decode(made, latents[::8]))
    assert (judged.timbre == what[::8, 0]).mean() > 0.97 and (judged.pitch == what[::8, 1]).all()


def test_training_writes_a_pipeline_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for minutes in (0.005, 0.01):
        made = train.train(tmp_path, minutes=minutes, seed=0, num_takes=1)
    assert "dB" in capsys.readouterr().out
    pipeline = DiffusionPipeline.from_pretrained(made)
    pipeline.set_progress_bar_config(disable=True)
    sound = pipeline("a low horn playing a long note", num_inference_steps=2, guidance_scale=1.0, output_type="np")
    assert sound.audios.shape == (1, 1, render.LENGTH)
