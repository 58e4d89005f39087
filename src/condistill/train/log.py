"""The run's log: one JSON object a line, means over the steps since the previous line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condistill.distill.losses import Terms
from condistill.distill.step import Drawn
from condistill.files import write_atomic
from condistill.reading import json_lines, text, whole

BINS = 10


class Meter:
    """Sums of everything the log shows, kept on the device until a line is due."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets what was added."""
        self._terms: list[Terms] = []
        self._draws: list[tuple[Tensor, Tensor, np.ndarray]] = []

    def add(self, terms: Terms, drawn: Drawn) -> None:
        """One micro-batch's terms and draws; nothing is computed here."""
        # without the graph, and without the noise: a line may be many steps away
        self._terms.append(replace(terms, loss=terms.loss.detach()))
        self._draws.append((drawn.u, drawn.p, drawn.keys.swapped))

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(torch.stack([terms.loss.float() for terms in self._terms]).mean())

    def means(self) -> dict[str, Any]:
        """terms, taps, by_time, swap_rate and swap_rate_by_time, as plain numbers."""
        u = torch.cat([row[0] for row in self._draws]).numpy()
        p = torch.cat([row[1] for row in self._draws]).numpy()
        swapped = np.concatenate([row[2] for row in self._draws])
        output = _column([terms.output for terms in self._terms])
        taps = {name: _column([terms.taps[name] for terms in self._terms]) for name in self._terms[0].taps}
        found = {"out": float(output.mean())}
        if taps:
            found["feat"] = float(sum(value.mean() for value in taps.values()))
        if self._terms[0].task is not None:
            task = _column([terms.task for terms in self._terms if terms.task is not None])
            found["task"] = float(task.sum() / max(1, (~swapped).sum()))
        feature = np.sum(list(taps.values()), axis=0) if taps else np.zeros_like(output)
        bins = np.minimum((u * BINS).astype(int), BINS - 1)
        rows = [(k / BINS, (k + 1) / BINS, bins == k) for k in range(BINS)]
        return {
            "terms": found,
            "taps": {name: float(value.mean()) for name, value in taps.items()},
            "by_time": [
                {"low": low, "high": high, "out": _mean(output[m]), "feat": _mean(feature[m]), "n": int(m.sum())}
                for low, high, m in rows
            ],
            "swap_rate": float(swapped.mean()),
            "swap_rate_by_time": [
                {"low": low, "high": high, "p": _mean(p[m]), "swapped": int(swapped[m].sum()), "n": int(m.sum())}
                for low, high, m in rows
            ],
        }


def _column(parts: list[Tensor]) -> np.ndarray:
    return torch.cat([part.float().cpu() for part in parts]).double().numpy()


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


class Log:
    """`log.jsonl`, appended to; a resumed run first forgets the lines after its checkpoint."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def rewind(self, step: int) -> None:
        """Keeps the lines up to `step`; a line cut in half by a kill goes too."""
        if self.path.exists():
            kept = [row for row in self.rows() if row["step"] <= step and row["event"] != "end"]
            write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends one line and hands it to the system."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """All whole lines; the last one is left out where a kill cut it in half.

        Raises:
            UserError: another line is none of a log.
        """
        found = json_lines(self.path)
        for k, row in enumerate(found):
            text(row.get("event"), f"{self.path}, line {k + 1}: event")
            whole(row.get("step"), f"{self.path}, line {k + 1}: step")
        return found
