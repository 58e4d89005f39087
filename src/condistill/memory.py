"""Memory that ran out: how to tell, and what to do next.

>>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("no"))
(True, False)
>>> is_out_of_memory(RuntimeError("could not create a primitive"))
True
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from condistill.errors import UserError

if TYPE_CHECKING:
    import torch

USABLE = 0.92  # of a device's memory: the rest goes to fragments
# as the allocators of torch, of C++ and of the drivers say it; they raise plain RuntimeErrors
_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc")
_WORDS += ("could not create a primitive",)  # oneDNN, where it is refused the memory for its own code and buffers


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the processor or on an accelerator."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(word in str(error).lower() for word in _WORDS)


def room_made() -> None:
    """Gives back to the system what is kept for later, so that the next try has it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def machine_bytes() -> int:
    """The machine's main memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def usable_bytes(device: torch.device) -> int:
    """The memory that a run may take on this device: a GPU's own, else the machine's."""
    import torch

    whole = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else machine_bytes()
    return int(USABLE * whole)


def peak_mib() -> float:
    """The most memory that this process has used so far, MiB: on a GPU where it uses one, else of the machine."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "win32":
        return 0.0  # Windows counts it elsewhere
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """A block in which running out of memory is one clear error.

    Args:
        advice: which setting to change, as "set data.batch lower (16 now)".

    Raises:
        UserError: memory ran out.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory; nothing finished is lost: {advice}") from error
