"""Trains the embedded emoji teacher and its judge: python -m condistill.world.emoji.train --minutes 70 --out DIR

Five stages: the text encoder, the autoencoder, its decoder once more, the denoiser ("teacher"), the judge. Each keeps
its state in DIR/state and goes on from there when started again; one that has had its time is not repeated. Once the
autoencoder stands, the last three can run side by side (--stages). DIR/pipeline is the result, the judge in it; the
files are the same on any device.
Needs the extra `world` and the Debian packages fonts-noto-color-emoji and unicode-data.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from condistill.world.emoji.render import Renders, render_all
from condistill.world.emoji.timed import Budget, placed

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny

# The share of the minutes that each stage gets.
SHARES = {"text": 0.03, "vae": 0.15, "decoder": 0.28, "teacher": 0.46, "judge": 0.08}


@dataclass(frozen=True)
class Training:
    """Where the files go, how long all stages take together, on what they run."""

    out: Path
    minutes: float
    size: int
    device: torch.device
    seed: int

    def budget(self, stage: str) -> Budget:
        """The time and the state file of one stage."""
        state = self.out / "state" / f"{stage}.pt"
        return Budget(seconds=60 * self.minutes * SHARES[stage], state=state, device=self.device, seed=self.seed)

    def renders(self) -> Renders:
        """All true pictures."""
        return render_all(self.size)


def train_text(training: Training) -> None:
    """Writes the tokenizer and the text encoder."""
    from condistill.world.emoji import text

    tokenizer = text.make_tokenizer()
    model = text.train_text_encoder(tokenizer, training.budget("text"))
    concept, colour = text.accuracy(model, tokenizer, training.seed)
    print(f"text encoder: right concept in {concept:.2%}, right colour in {colour:.2%} of 2000 new captions")
    tokenizer.save_pretrained(training.out / "tokenizer")
    model.save_pretrained(training.out / "text_encoder")


def train_vae(training: Training) -> None:
    """Writes the autoencoder."""
    from condistill.world.emoji import vae

    renders = training.renders()
    model = vae.train_autoencoder(renders, training.budget("vae"))
    _report_autoencoder(model, renders)
    model.save_pretrained(training.out / "vae")


def train_decoder(training: Training) -> None:
    """Writes the autoencoder again, with a better decoder."""
    from diffusers import AutoencoderTiny

    from condistill.world.emoji import vae

    renders = training.renders()
    model = vae.refine_decoder(
        AutoencoderTiny.from_pretrained(training.out / "vae"), renders, training.budget("decoder")
    )
    _report_autoencoder(model, renders)
    model.save_pretrained(training.out / "vae")


def _report_autoencoder(model: AutoencoderTiny, renders: Renders) -> None:
    from condistill.world.emoji import vae

    images = torch.from_numpy(renders.images[4::9]).to(model.device)
    decoded = vae.decode_all(model, vae.encode_all(model, images))
    print(f"autoencoder: {vae.psnr(decoded, vae.to_tensor(images)):.2f} dB over {len(images)} renders")


def train_teacher(training: Training) -> None:
    """Writes the denoiser, and a draft of it every minute."""
    from diffusers import AutoencoderTiny
    from transformers import CLIPTextModel, CLIPTokenizer

    from condistill.world.emoji import teacher, text, vae

    model = placed(AutoencoderTiny.from_pretrained(training.out / "vae"), training.device)
    tokenizer = CLIPTokenizer.from_pretrained(training.out / "tokenizer")
    encoder = placed(CLIPTextModel.from_pretrained(training.out / "text_encoder"), training.device)
    latents = vae.encode_all(model, torch.from_numpy(training.renders().images).to(training.device))
    pairs = teacher.Pairs(latents, lambda texts: text.encode(encoder, tokenizer, texts))
    unet = training.out / "unet"
    teacher.train_denoiser(pairs, training.budget("teacher"), lambda average: average.save_pretrained(unet))


def train_judge(training: Training) -> None:
    """Writes the judge."""
    from diffusers import AutoencoderTiny

    from condistill.world.emoji import judge, judge_training

    renders = render_all(judge.SIZE)
    vae = placed(AutoencoderTiny.from_pretrained(training.out / "vae"), training.device)
    network = judge_training.train_judge(renders, vae, training.budget("judge"))
    judge_training.save_judge(network, training.out / "judge")
    found = judge_training.accuracy(judge.Judge.load(training.out / "judge"), renders, vae.cpu())
    print("judge: " + ", ".join(f"{name} {value:.2%}" for name, value in found.items()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the stages that were asked for, in their order."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True, help="time for all stages together")
    parser.add_argument("--size", type=int, default=64, help="edge of the images in pixels, a multiple of 32")
    parser.add_argument("--out", type=Path, required=True, help="folder for the states and the result")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="processor threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", default=",".join(SHARES), help=f"some of {','.join(SHARES)}")
    chosen = parser.parse_args(arguments)
    from condistill.world.emoji import pipeline

    torch.set_num_threads(chosen.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = Training(chosen.out, chosen.minutes, chosen.size, device, chosen.seed)
    (chosen.out / "state").mkdir(parents=True, exist_ok=True)
    run = {
        "text": train_text,
        "vae": train_vae,
        "decoder": train_decoder,
        "teacher": train_teacher,
        "judge": train_judge,
    }
    for stage in SHARES:
        if stage in chosen.stages.split(","):
            run[stage](training)
    if pipeline.write_result(chosen.out, chosen.out / "pipeline"):
        print(f"wrote {chosen.out / 'pipeline'}")


if __name__ == "__main__":
    main()
