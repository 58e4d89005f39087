"""The run's log: one JSON object a line, means over the steps since the previous line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condistill import processes
from condistill.distill.losses import Terms
from condistill.distill.step import Drawn
from condistill.files import full_disk_said, write_atomic
from condistill.reading import json_lines, text, whole

BINS = 10

Listener = Callable[[Mapping[str, Any], bool], None]  # is told a line, and whether it is new


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
        # without the noise: a line may be many steps away
        self._terms.append(terms.without_graph())
        self._draws.append((drawn.u, drawn.p, drawn.keys.swapped))

    def tensors(self) -> dict[str, Tensor]:
        """What was added since the last line, as a checkpoint holds it; empty where nothing was."""
        if not self._terms:
            return {}
        columns = {"output": [terms.output for terms in self._terms]}
        for k, name in enumerate(self._terms[0].taps):  # numbered, because sums are taken in this order
            columns[f"tap.{k:04d}.{name}"] = [terms.taps[name] for terms in self._terms]
        if self._terms[0].task is not None:
            columns["task"] = [terms.task for terms in self._terms if terms.task is not None]
        columns |= {"u": [row[0] for row in self._draws], "p": [row[1] for row in self._draws]}
        columns["swapped"] = [torch.from_numpy(row[2]) for row in self._draws]
        sizes = torch.tensor([len(terms.output) for terms in self._terms])
        whole = {name: torch.cat([part.detach().cpu() for part in parts]) for name, parts in columns.items()}
        return {**whole, "loss": torch.stack([terms.loss.cpu() for terms in self._terms]), "sizes": sizes}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` gave, micro-batch by micro-batch."""
        self.clear()
        if not tensors:
            return
        sizes = tensors["sizes"].tolist()
        parts = {name: value.split(sizes) for name, value in tensors.items() if name not in ("loss", "sizes")}
        for k in range(len(sizes)):
            taps = {name[9:]: parts[name][k] for name in sorted(parts) if name.startswith("tap.")}
            task = parts["task"][k] if "task" in parts else None
            self._terms.append(Terms(tensors["loss"][k], parts["output"][k], taps, task))
            self._draws.append((parts["u"][k], parts["p"][k], parts["swapped"][k].numpy()))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._terms

    def gather(self) -> None:
        """What all processes added comes together on the first; the others begin anew. Nothing where there is one."""
        if processes.count() == 1:
            return
        found = processes.gathered({processes.index(): self.tensors()})
        self.clear()
        for tensors in found if processes.is_main() else ():
            part = Meter()
            part.restore(tensors)
            self._terms += part._terms
            self._draws += part._draws

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(torch.stack([terms.loss.float().cpu() for terms in self._terms]).mean())

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


def notes_of(row: Mapping[str, Any], name: str) -> dict[str, str]:
    """What the progress shows of a "step" line: the loss, its terms and the swap rate, of several students by name.

    >>> notes_of({"loss": 2.0, "terms": {"out": 0.5, "feat": 1.5}, "swap_rate": 0.25}, "")
    {'loss': '2', 'out': '0.5', 'feat': '1.5', 'swapped': '25 %'}
    """
    losses = {"loss": row["loss"], **row["terms"]}
    shown = {f"{term} {name}".strip(): f"{value:.4g}" for term, value in losses.items()}
    return {**shown, "swapped": f"{100 * row['swap_rate']:.0f} %"}


def _column(parts: list[Tensor]) -> np.ndarray:
    return torch.cat([part.float().cpu() for part in parts]).double().numpy()


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


class Log:
    """`log.jsonl`, appended to; a resumed run first forgets the lines after its checkpoint.

    Attributes:
        path: the file.
        listeners: are told every line: those that are kept when a run begins or goes on, and every new one.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.listeners: list[Listener] = []

    def begin(self, first: Mapping[str, Any], *, step: int) -> None:
        """Keeps the lines up to `step`, the first of which is `first` if there was none.

        What a killed process wrote after its last checkpoint goes, and a line that the kill cut in half.
        """
        rows = [row for row in self.rows() if step and row.get("step", 0) <= step and row.get("event") != "end"]
        rows = rows if rows and rows[0].get("event") == "start" else [dict(first), *rows]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in rows))
        for row in rows:
            self._tell(row, False)

    def _tell(self, row: Mapping[str, Any], is_new: bool) -> None:
        for listener in self.listeners:
            listener(row, is_new)

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends one line and hands it to the system.

        Raises:
            UserError: the disk is full.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with full_disk_said(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._tell(row, True)

    def sync(self) -> None:
        """Puts the lines on the disk, so that a checkpoint is never newer than its log."""
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())

    def started_with(self) -> dict[str, Any] | None:
        """The options that the run was started with; None if it was not started."""
        return next((row["train"] for row in self.rows() if isinstance(row.get("train"), dict)), None)

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
