"""A grid of runs carried out: cell by cell, by as many processes as are started on its folder.

OUT/
  ablation.json ablation.md    what is known so far, written anew after every cell
  cells/NAME/                  an ordinary run folder
  D/NAME/                      D, made once; more than one where the grid sweeps what D is made of
  teacher/                     the teacher's samples of the evaluation, made once
  locks/                       who is at work on what
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.errors import UserError
from condistill.files import write_atomic, write_json
from condistill.lock import POLL_SECONDS, Lock, held
from condistill.progress import Progress
from condistill.reading import number
from condistill.recipes.check import check
from condistill.recipes.dump import refuse_others
from condistill.recipes.finished import LOG, RESULTS, is_finished
from condistill.recipes.grid import Axis, Cell, axis, cells
from condistill.recipes.run import Run

if TYPE_CHECKING:
    from condistill.evaluate.ablation import Ablation, CellResult

TABLE = "ablation.md"


class Grid:
    """An ablation and its folder.

    Several processes may be given the same grid and folder: each takes the next cell that nobody is at work on. One
    that finds none left waits for the others, and takes over what a killed one left.

    Args:
        recipe: a file, a run folder or a shipped name.
        over: "KEY=VALUE,VALUE" or "KEY=[YAML list]", one per axis.
        overrides: key=value, for every cell.
        num_seeds: training seeds 0 ... num_seeds - 1.
        out: the folder.
        comments: the lines that the recipe opened with, kept in every cell.
        say: is told what is being done.
        progress: whether the stages show progress.

    Raises:
        UserError: a wrong key, value or recipe, or a folder that holds cells of another one; nothing is touched.
    """

    def __init__(
        self,
        recipe: str | Path,
        over: Sequence[str],
        *,
        overrides: Sequence[str] = (),
        num_seeds: int,
        out: str | Path,
        comments: str = "",
        say: Callable[[str], None] = lambda text: None,
        progress: bool = True,
    ):
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("a grid is not run under a launcher; start `condistill ablate` once per device instead")
        self.recipe, self.overrides, self.out, self.progress = str(recipe), tuple(overrides), Path(out), progress
        self.axes: tuple[Axis, ...] = tuple(axis(text) for text in over)
        self.seeds = tuple(range(num_seeds))
        self.cells = cells(recipe, overrides, self.axes, seeds=self.seeds, out=self.out)
        self._comments, self._say = comments, say
        self._finished: set[str] = set()
        self._failed: dict[str, str] = {}
        for cell in self.cells:
            check(cell.recipe)
            refuse_others(self.folder(cell), cell.recipe)

    def folder(self, cell: Cell) -> Path:
        """The cell's run folder."""
        return self.out / "cells" / cell.name

    def all(self) -> Ablation:
        """The results of all cells, made as far as they are missing.

        Raises:
            UserError: a cell could not be made; the others are.
        """
        done = len(self.cells) - len(self._missing())
        with Progress("ablation", len(self.cells), unit="cells", done=done, enabled=False) as bar:
            while missing := self._missing():
                bar.advance(len(self.cells) - len(missing) - bar.done)
                if not self._one_of(missing, bar):
                    time.sleep(POLL_SECONDS)
        found = self.write()
        if self._failed:
            name, message = next(iter(self._failed.items()))
            raise UserError(
                f"{len(self._failed)} of {len(self.cells)} cells could not be made; {name}: {message}; the others are "
                f"in {self.out}, and the same command tries these again"
            )
        return found

    def _missing(self) -> list[Cell]:
        for cell in self.cells:
            if cell.name not in self._finished and is_finished(cell.recipe, self.folder(cell)):
                self._finished.add(cell.name)
        return [cell for cell in self.cells if cell.name not in self._finished and cell.name not in self._failed]

    def _one_of(self, missing: Sequence[Cell], bar: Progress) -> bool:
        """Whether one of the cells was free and has been made."""
        for cell in missing:
            lock = Lock(self.out / "locks" / f"{cell.name}.lock")
            if not lock.take():
                continue
            try:
                # another process may have finished it since we looked
                if not is_finished(cell.recipe, self.folder(cell)):
                    self._say(f"{bar.line()}; now {cell.name}")
                    self._make(cell)
                    self.write()
            except UserError as error:
                self._failed[cell.name] = str(error)
                self._say(f"{cell.name} failed: {error}")
            finally:
                lock.release()
            return True
        return False

    def _make(self, cell: Cell) -> None:
        folder, store = self.folder(cell), self.out / "teacher"
        one = Run(cell.recipe, folder, comments=self._comments, progress=self.progress, store=store)
        with held(self.out / "locks" / f"D-{cell.data_name}.lock", lambda: self._say("waiting for D")):
            one.data()
        one.train()
        if any((self.folder(other) / RESULTS).is_file() for other in self.cells):
            one.evaluate()
        else:
            # the first evaluation makes the teacher's samples; the others wait instead of making them as well
            with held(self.out / "locks" / "teacher.lock", lambda: self._say("waiting for the teacher's samples")):
                one.evaluate()
        # a finished cell does not go on, and its optimiser is several times as large as its student
        for checkpoints in folder.rglob("checkpoints"):
            shutil.rmtree(checkpoints)

    def write(self) -> Ablation:
        """What is known so far, also in ablation.json and as a table."""
        from condistill.evaluate.ablation import FILE
        from condistill.evaluate.ablation_table import markdown

        found = self._gathered()
        write_json(self.out / FILE, found.to_json())
        write_atomic(self.out / TABLE, markdown(found))
        return found

    def _gathered(self) -> Ablation:
        from condistill.evaluate import Results
        from condistill.evaluate.ablation import Ablation

        self._missing()  # what others have finished meanwhile counts too
        results = {c.name: Results.load(self.folder(c)) for c in self.cells if c.name in self._finished}
        _refuse_mixed(results)
        first = next(iter(results.values()), None)
        return Ablation(
            recipe=self.recipe,
            overrides=self.overrides,
            axes={one.key: one.labels for one in self.axes},
            seeds=self.seeds,
            cells=tuple(self._result(cell, results.get(cell.name)) for cell in self.cells),
            teacher=first.models[0] if first else None,
            protocol={k: v for k, v in first.protocol.items() if k not in ("inputs", "machine")} if first else None,
            machines=tuple(sorted({_machine(one.protocol) for one in results.values()})),
        )

    def _result(self, cell: Cell, results: Any) -> CellResult:
        from condistill.evaluate.ablation import CellResult
        from condistill.train.log import Log

        if results is None:
            return CellResult(cell.name, cell.labels, cell.seed)
        logs = [Log(file).rows()[-1:] for file in self.folder(cell).rglob(LOG)]
        seconds = sum(
            number(row.get("seconds"), f"{self.folder(cell)}, {LOG}: seconds") for rows in logs for row in rows
        )
        return CellResult(cell.name, cell.labels, cell.seed, results.models[1:], seconds)


def _refuse_mixed(results: Mapping[str, Any]) -> None:
    """Nothing, if all cells were measured by one protocol."""
    by_hash: dict[str, str] = {}
    for name, one in results.items():
        by_hash.setdefault(one.hash, name)
    if len(by_hash) > 1:
        first, other, *_ = by_hash.values()
        raise UserError(
            f"the cells {first} and {other} were measured by different protocols, so they do not stand in one table; "
            f"remove cells/{first}/{RESULTS} or the other's, and the same command measures it again"
        )


def _machine(protocol: Mapping[str, Any]) -> str:
    machine = protocol.get("machine", {})
    return f"{machine.get('device')} {machine.get('kind')}, {machine.get('threads')} threads"
