"""Stepping: a distillation that goes on when it is told to, so that it can take turns with something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from condistill.distill.swap import Uniform


class Enough(Exception):
    """Ends a distillation that is not wanted any longer."""


@dataclass
class Paced(Uniform):
    """The uniform choice of swaps; once a step it asks whether to go on."""

    def settle(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Waits for as long as it is told to."""
        self.wait()

    wait: Any = field(default=None, repr=False)

    def describe(self) -> dict[str, Any]:
        """As `Uniform`: it draws the same."""
        return Uniform().describe()


class Stepping:
    """A distillation in a thread of its own that stands still except within `advance`."""

    def __init__(self, begin: Callable[[Paced], Any]):
        """Args:
        begin: starts the distillation with this choice of swaps.
        """
        self._begin = begin
        self._go, self._rest = threading.Semaphore(0), threading.Semaphore(0)
        self._todo, self._is_over = 0, False
        self._within: AbstractContextManager[Any] = nullcontext()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def advance(self, count: int, within: AbstractContextManager[Any] | None = None) -> None:
        """Goes on for `count` steps, inside the context `within`, which may belong to a thread."""
        self._todo, self._within = count, within or nullcontext()
        self._go.release()
        self._rest.acquire()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Ends it; nothing is saved."""
        self._is_over = True
        self._go.release()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._start()
            self._begin(Paced(wait=self._wait))
        except Enough:
            return
        except BaseException as error:  # handed to whoever waits for the step
            self._error = error
        self._rest.release()

    def _wait(self) -> None:
        self._todo -= 1
        if self._todo == 0:
            self._within.__exit__(None, None, None)
            self._rest.release()
            self._start()

    def _start(self) -> None:
        self._go.acquire()
        if self._is_over:
            raise Enough
        self._within.__enter__()
