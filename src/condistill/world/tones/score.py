"""How well the embedded teacher plays what it is asked, by its judge: python -m condistill.world.tones.score"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from condistill.world import tones


def score(sounds: Float[np.ndarray, "n t"], prompts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Shares of right timbres and pitches in each group, the number of sounds, and what was missed how often."""
    judged = tones.judge()(sounds)
    asked = np.array([tones.parse(prompt) for prompt in prompts])
    unseen = np.array([tones.is_unseen(timbre) for timbre in asked[:, 0]])
    right = judged.timbre == asked[:, 0]
    found: dict[str, dict[str, Any]] = {}
    for name, rows in (("seen", ~unseen), ("unseen", unseen), ("all", unseen | ~unseen)):
        pitch = (judged.pitch == asked[:, 1])[rows]
        near = float(np.median(judged.nearness[rows]))
        found[name] = {"timbre": right[rows].mean(), "pitch": pitch.mean(), "nearness": near, "n": int(rows.sum())}
    missed = {tones.TIMBRES[timbre].name: float((~right[asked[:, 0] == timbre]).mean()) for timbre in asked[~right, 0]}
    return {**found, "missed": missed}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the scores as JSON."""
    from condistill.teacher import Teacher

    default = tones.default_call()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pipeline", type=Path, default=tones.folder())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=default["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=default["guidance_scale"])
    chosen = parser.parse_args(arguments)
    call = {"num_inference_steps": chosen.steps, "guidance_scale": chosen.guidance}
    prompts = tones.prompts("all")
    made = Teacher.load(chosen.pipeline).sample(prompts, seed=chosen.seed, call=call, output="both", batch=48)
    assert made.images is not None
    print(json.dumps({"call": call, "seed": chosen.seed, **score(made.images, prompts)}, indent=1))


if __name__ == "__main__":
    main()
