"""An evaluation over several processes: each does its share of the batches, then all of them know everything.

Shares are whole batches, the same ones that a single process would make, so the number of processes changes no bit.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

T = TypeVar("T")


def _state() -> Any:
    """accelerate's state of the processes; None where there is one. Joins the others at the first call."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def join() -> None:
    """This process made known to the others and put on its own device; nothing where it is alone."""
    _state()


def is_main() -> bool:
    """Whether this process is the one that writes files and shows progress."""
    state = _state()
    return state is None or state.is_main_process


def share(num: int) -> range:
    """Which of `num` batches are this process's."""
    state = _state()
    return range(num) if state is None else range(state.process_index, num, state.num_processes)


def gathered(parts: dict[int, T]) -> list[T]:
    """The parts of all processes in the order of their numbers, on every process.

    Args:
        parts: number of the batch -> what this process made of it.
    """
    state = _state()
    if state is not None:
        from accelerate.utils import gather_object

        parts = {number: part for each in gather_object([parts]) for number, part in each.items()}
    return [parts[number] for number in sorted(parts)]
