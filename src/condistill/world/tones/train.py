"""Trains the embedded tones teacher: python -m condistill.world.tones.train --minutes 12 --out DIR

The codec and the words are written down in seconds; the time is the denoiser's. It keeps its state in DIR/state and
goes on from there when started again. DIR/pipeline is the result, written anew once a minute. It needs no data: the
sounds are computed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from condistill.maths import draws
from condistill.world.emoji.timed import Budget
from condistill.world.tones import codec, concepts, pipeline, teacher, text
from condistill.world.tones.render import all_sounds, render

NUM_TAKES = 24  # of each sound


def train(out: Path, *, minutes: float, seed: int, num_takes: int = NUM_TAKES) -> Path:
    """The pipeline folder `out`/pipeline, after so many minutes in all."""
    (out / "state").mkdir(parents=True, exist_ok=True)
    caption = np.tile(np.arange(len(all_sounds())), num_takes)
    sounds = render(all_sounds()[caption], seed=seed, samples=draws.numbers(0, len(caption)))
    made = codec.fit_codec(sounds)
    latents = codec.encode(made, sounds)
    error = codec.decode(made, latents[:512]) - sounds[:512]
    print(f"codec: {10 * np.log10((sounds[:512] ** 2).mean() / (error**2).mean()):.1f} dB over 512 sounds")

    tokenizer, projection = text.make_tokenizer(), teacher.make_projection(seed)
    encoder = text.make_text_encoder(tokenizer, seed)
    conditions = teacher.conditions_of(
        lambda texts: text.encode(encoder, tokenizer, texts), concepts.prompts("all"), projection
    )
    pairs = teacher.Pairs(latents, conditions, caption, teacher.seconds(projection)[1])
    budget = Budget(60 * minutes, out / "state" / "teacher.pt", torch.device("cpu"), seed)
    teacher.train_denoiser(
        pairs, budget, lambda average: pipeline.save_half(pipeline.assemble(made, average, seed=seed), out / "pipeline")
    )
    return out / "pipeline"


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains as long as was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True, help="time for the denoiser")
    parser.add_argument("--out", type=Path, required=True, help="folder for the state and the result")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="processor threads")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    print(f"wrote {train(chosen.out, minutes=chosen.minutes, seed=chosen.seed)}")


if __name__ == "__main__":
    main()
