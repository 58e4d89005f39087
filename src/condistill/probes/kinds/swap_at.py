"""What does a picture become if its condition is exchanged in the middle of sampling?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from condistill.maths import draws
from condistill.maths.randomise import Key
from condistill.probes.kinds import Chart, Curve, Finding, Material, Pictures
from condistill.teacher.sampling import Samples
from condistill.teacher.switching import Switched

NUM_COLUMNS = 8
NUM_PAIRS = 4


@dataclass(frozen=True)
class SwapAt:
    """Samples that are told condition a until noise level u and condition b from there on.

    Columns go from a switch at pure noise (b alone) to none (a alone), all from the same noise. `kept` says how much of
    the result is that of a: d_b / (d_a + d_b), squared distances of x0 to the samples of b alone and of a alone.

    Source: the experiment is that of arXiv 2504.02011, Fig. 3.
    """

    name: str = "swap_at"
    label: str = "sampling with a switched condition"

    def parts(self, material: Material) -> int:
        """Samples."""
        return NUM_COLUMNS * len(_pairs(material.keys))

    def ask(self, material: Material, advance: Callable[[int], None]) -> Finding:
        """`pairs`: the keys, u of each switch and what is `kept` of the first; pictures where the teacher has them."""
        pairs = _pairs(material.keys)
        seeds = draws.integers(material.seed, "probe/swap_at", draws.numbers(0, len(pairs)), 2**31).tolist()
        found, rows, columns = [], {}, ()
        for (a, b), seed in zip(pairs, seeds, strict=True):
            switched = Switched(material.teacher, b, seed=seed, call=material.call)
            steps = sorted({round(k) for k in np.linspace(0, len(switched.times), NUM_COLUMNS)})
            made = []
            for after in steps:
                made.append(switched.sample(a, after=after))
                advance(1)
            levels = [*material.teacher.noise_path.u(torch.tensor(switched.times)).tolist(), 0.0]
            u = [levels[after] for after in steps]
            first = _first(made)
            found.append({"first": str(a), "then": str(b), "u": u, "kept": first})
            columns = tuple(f"switch at u = {level:.2f}" for level in u[:-1]) + ("no switch",)
            if all(one.images is not None and one.images.ndim == 4 for one in made):
                images = np.concatenate([one.images for one in made if one.images is not None])
                rows[f"{a}, then {b}"] = (images.clip(0, 1) * 255).round().astype(np.uint8)
        mean = np.mean([pair["kept"] for pair in found], axis=0)
        lines = [[f"{x:.2f}", f"{y:.3f}"] for x, y in zip(u, mean, strict=True)]
        table = [["switch at u", "kept of the first"], *lines]
        chart = Chart("Part of the first condition that is left", (Curve("mean", u, mean.tolist()),))
        return Finding({"pairs": found}, table, (chart,), Pictures(columns, rows) if rows else None)


def _pairs(keys: Sequence[Key]) -> list[tuple[Key, Key]]:
    return [(keys[k], keys[k + 1]) for k in range(0, min(len(keys) - 1, 2 * NUM_PAIRS), 2)]


def _first(made: Sequence[Samples]) -> list[float]:
    to_b, to_a = (
        [float((one.latents - end.latents).double().square().sum()) for one in made] for end in (made[0], made[-1])
    )
    return [b / (a + b) if a + b else 0.0 for a, b in zip(to_a, to_b, strict=True)]


PROBE = SwapAt()
