"""The README's picture from a run: python benchmarks/picture.py RUN [--out docs/assets/demo.png] [--groups unseen seen]

Rows are models, columns prompts, as in the run's samples/index.json; nothing is chosen by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TITLES = {
    "teacher": "teacher",
    "without": "student without\nrandom conditioning",
    "with": "student with\nrandom conditioning",
    "unseen": "animals: no student was ever shown an image of one",
    "seen": "other things: images of them were in the cache",
}


def draw(axes: Sequence[Any], files: Sequence[Path]) -> None:
    """One picture per axis, without frame and ticks."""
    for axis, file in zip(axes, files, strict=False):
        axis.imshow(plt.imread(file), interpolation="lanczos")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/assets/demo.png"))
    parser.add_argument("--groups", nargs="+", default=["unseen", "seen"])
    chosen = parser.parse_args()
    index = json.loads((chosen.run / "samples" / "index.json").read_text())
    models = sorted(index["models"], key=["teacher", "without", "with"].index)
    columns = max(len(index["models"][models[0]][group]) for group in chosen.groups)
    size = (columns * 0.9 + 1.6, len(chosen.groups) * (len(models) * 0.92 + 0.35))
    figure = plt.figure(figsize=size)
    for part, group in zip(figure.subfigures(len(chosen.groups), 1, squeeze=False).flat, chosen.groups, strict=True):
        axes = part.subplots(len(models), columns, squeeze=False)
        part.subplots_adjust(left=1.6 / size[0], right=0.995, top=0.89, bottom=0.01, wspace=0.03, hspace=0.03)
        axes[0][0].set_title(TITLES.get(group, group), loc="left", fontsize=10)
        for model, line in zip(models, axes, strict=True):
            draw(line, [chosen.run / "samples" / name for name in index["models"][model][group]])
            line[0].set_ylabel(TITLES.get(model, model), rotation=0, ha="right", va="center", fontsize=9)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.out, dpi=110)
    print(f"written to {chosen.out}")


if __name__ == "__main__":
    main()
