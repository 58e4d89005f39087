"""The signals that ask a process to stop, and how long work takes notice of them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Ctrl-C; the end of a job; what Slurm is commonly told to send ahead of it (--signal=USR1@120); a closed terminal
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))


@contextmanager
def handled(handle: Callable[[int], None]) -> Iterator[None]:
    """A block during which `handle` is called with the number of every such signal.

    A signal that was being ignored when the block began (nohup, a job in the background) stays ignored. Outside the
    main thread, where no signals arrive, this is nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before: dict[int, Any] = {number: signal.signal(number, lambda number, _: handle(number)) for number in taken}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def interrupting() -> Iterator[threading.Event]:
    """A block that any of the signals ends as Ctrl-C does, and an event that says that one came.

    A library that is in the middle of something may turn the interruption into an error of its own; the event tells.
    """
    asked = threading.Event()

    def interrupt(number: int) -> None:
        asked.set()
        raise KeyboardInterrupt

    with handled(interrupt):
        yield asked


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first signal sets, so that the step in progress is finished and saved.

    A second Ctrl-C stops at once. Other signals may come twice, from a job manager and a launcher, and say nothing new.
    """
    stop = threading.Event()

    def ask(number: int) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    with handled(ask):
        yield stop
