"""The README's picture from a run: python benchmarks/picture.py RUN [--out docs/assets/demo.png] [--groups unseen seen]

Rows are models, columns prompts, as in the run's samples/index.json; nothing is chosen by hand.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/assets/demo.png"))
    parser.add_argument("--groups", nargs="+", default=["unseen", "seen"])
    chosen = parser.parse_args()
    index = json.loads((chosen.run / "samples" / "index.json").read_text())
    models = sorted(index["models"], key=["teacher", "without", "with"].index)
    columns = max(len(index["models"][models[0]][group]) for group in chosen.groups)
    rows = len(models) * len(chosen.groups)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 0.9 + 1.5, rows * 0.95), squeeze=False)
    for g, group in enumerate(chosen.groups):
        for m, model in enumerate(models):
            line = axes[g * len(models) + m]
            for axis, name in zip(line, index["models"][model][group], strict=False):
                axis.imshow(plt.imread(chosen.run / "samples" / name), interpolation="lanczos")
            for axis in line:
                axis.set_xticks([])
                axis.set_yticks([])
                axis.spines[:].set_visible(False)
            line[0].set_ylabel(TITLES.get(model, model), rotation=0, ha="right", va="center", fontsize=9)
        axes[g * len(models)][0].set_title(TITLES.get(group, group), loc="left", fontsize=10)
    figure.subplots_adjust(
        left=1.5 / (columns * 0.9 + 1.5), right=0.995, top=0.95, bottom=0.005, wspace=0.03, hspace=0.03
    )
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.out, dpi=110)
    print(f"written to {chosen.out}")


if __name__ == "__main__":
    main()
