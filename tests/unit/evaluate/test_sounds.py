"""Sounds in an evaluation: the tones world's judge, WAV files, and where their rate stands."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from diffusers import DiffusionPipeline

from condistill.errors import UserError
from condistill.evaluate.judging import WorldJudging
from condistill.evaluate.metrics import Material, metric
from condistill.evaluate.sounds import sampling_rate, wavs
from condistill.maths import draws
from condistill.world import tones
from condistill.world.tones import render


@pytest.fixture(scope="module")
def judging() -> WorldJudging:
    return WorldJudging("tones")


def test_it_knows_what_every_prompt_of_its_world_asks_for(judging):
    timbre, pitch = judging.asked(tones.prompts())
    np.testing.assert_array_equal(np.stack([timbre, pitch], axis=1), render.all_sounds()[:, :2])
    for group in ("seen", "unseen"):
        assert {judging.group(key) for key in tones.prompts(group)} == {group}
    with pytest.raises(UserError, match="plain"):
        judging.asked([7])


def test_it_hears_what_true_sounds_are(judging):
    some = render.all_sounds()[::12]
    seen = judging.look(render.render(some, seed=9, samples=draws.numbers(0, len(some)))[:, None])
    np.testing.assert_array_equal(seen.concept, some[:, 0])
    np.testing.assert_array_equal(seen.colour, some[:, 1])
    assert len(seen.features) == len(some) and len(judging.identity) == 64


def test_pitch_accuracy_is_the_share_of_right_pitches():
    material = Material(keys=("a", "b"), colour=np.array([1, 2]), judged_colour=np.array([1, 3]))
    score = metric("pitch_accuracy").compute(material).score
    assert score.value == 0.5 and score.low < 0.5 < score.high and score.n == 2


@pytest.mark.parametrize("shape", [(2, 40), (2, 1, 40), (2, 2, 40)])
def test_a_wav_file_holds_the_sound(shape):
    sounds = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    files = wavs(sounds, 8000)
    with wave.open(io.BytesIO(files[1].tobytes())) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 40)
        found = np.frombuffer(file.readframes(40), "<i2").reshape(40, -1).T / 32767
    np.testing.assert_allclose(found, np.atleast_2d(sounds[1]), atol=1 / 32767)


def test_pictures_and_vectors_have_no_rate():
    pipeline = DiffusionPipeline.from_pretrained(tones.folder())
    assert sampling_rate(pipeline, np.zeros((1, 1, 8))) == render.RATE
    assert sampling_rate(pipeline, np.zeros((1, 8, 8, 3))) is None
    assert sampling_rate(pipeline, None) is None
    pipeline.vae = None
    assert sampling_rate(pipeline, np.zeros((1, 8))) is None
