"""How well the embedded teacher draws what it is asked, by its judge: python -m condistill.world.emoji.score"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from jaxtyping import Float
from PIL import Image

from condistill.progress import Progress
from condistill.world import emoji

BATCH = 32
COLUMNS = 16


def sample(
    pipeline: Any, prompts: Sequence[str], seed: int, *, call: dict[str, Any], shown: bool = True
) -> Float[np.ndarray, "n h w 3"]:
    """One image in [0, 1] per prompt; image k has its own seed, whatever the batch."""
    pipeline.set_progress_bar_config(disable=True)
    images = []
    with Progress("drawing", len(prompts), unit="images", enabled=shown) as bar:
        for start in range(0, len(prompts), BATCH):
            part = list(prompts[start : start + BATCH])
            seeds = [torch.Generator().manual_seed(1_000_003 * seed + start + row) for row in range(len(part))]
            images.append(pipeline(part, generator=seeds, output_type="np", **call).images)
            bar.advance(len(part))
    return np.concatenate(images)


def score(images: Float[np.ndarray, "n h w 3"], prompts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Shares of right concepts and colours in each group, the number of images, and what was missed how often."""
    judged = emoji.judge()(images)
    asked = np.array([emoji.parse(prompt) for prompt in prompts])
    unseen = np.array([emoji.is_unseen(concept) for concept in asked[:, 0]])
    right = judged.concept == asked[:, 0]
    found: dict[str, dict[str, float]] = {}
    for name, rows in (("seen", ~unseen), ("unseen", unseen), ("all", unseen | ~unseen)):
        colours = judged.colour[rows] == asked[rows, 1]
        found[name] = {"concept": right[rows].mean().item(), "colour": colours.mean().item(), "n": int(rows.sum())}
    missed = sorted({int(concept) for concept in asked[~right, 0]})
    found["missed"] = {
        emoji.CONCEPTS[concept].name: (~right[asked[:, 0] == concept]).mean().item() for concept in missed
    }
    return found


def grid(images: Float[np.ndarray, "n h w 3"], *, columns: int = COLUMNS) -> Image.Image:
    """The images in rows, as many as fill whole rows."""
    rows = len(images) // columns
    tiles = np.round(images[: rows * columns] * 255).astype(np.uint8).reshape(rows, columns, *images.shape[1:])
    return Image.fromarray(tiles.swapaxes(1, 2).reshape(rows * images.shape[1], columns * images.shape[2], 3))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the scores as JSON; with --grid, writes a picture of every concept, each on two colours."""
    default = emoji.default_call()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pipeline", type=Path, default=emoji.folder())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--num", type=int, default=512, help="prompts, spread evenly over all")
    parser.add_argument("--steps", type=int, default=default["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=default["guidance_scale"])
    parser.add_argument("--grid", type=Path, help="write a PNG here")
    chosen = parser.parse_args(arguments)
    pipeline = DiffusionPipeline.from_pretrained(chosen.pipeline)
    prompts = emoji.prompts("all")
    prompts = [prompts[number * len(prompts) // chosen.num] for number in range(chosen.num)]
    call = {"num_inference_steps": chosen.steps, "guidance_scale": chosen.guidance}
    images = sample(pipeline, prompts, chosen.seed, call=call)
    print(json.dumps({"call": call, "seed": chosen.seed, **score(images, prompts)}, indent=1))
    if chosen.grid is not None:
        at = {emoji.parse(prompt): row for row, prompt in enumerate(prompts)}
        pairs = [(c, (c + turn) % 8) for turn in (0, 4) for c in range(len(emoji.CONCEPTS))]
        chosen.grid.parent.mkdir(parents=True, exist_ok=True)
        grid(images[[at[pair] for pair in pairs if pair in at]]).save(chosen.grid, optimize=True)


if __name__ == "__main__":
    main()
