"""What the machine can do: measured peaks, and the memory that is used."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from condistill.bench.clock import taken

REPEATS = 5


def peaks(device: torch.device) -> dict[str, float]:
    """FLOP/s of a large matrix product and a large convolution in float32 and bfloat16, the best of a few."""
    size, batch, edge, channels = (4096, 32, 64, 512) if device.type == "cuda" else (1024, 16, 32, 128)
    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with torch.no_grad():
            a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
            found[f"matmul {name}"] = 2 * size**3 / _best(lambda a=a, b=b: a @ b, device)
            image = torch.randn(batch, channels, edge, edge, device=device, dtype=dtype)
            image = image.contiguous(memory_format=torch.channels_last)
            kernel = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
            work = 2 * 9 * batch * edge**2 * channels**2
            found[f"conv {name}"] = work / _best(lambda x=image, k=kernel: torch.conv2d(x, k, padding=1), device)
    return found


def _best(work: Callable[[], Any], device: torch.device) -> float:
    work()
    return min(_seconds(work, device) for _ in range(REPEATS))


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    found = taken(work, device)
    # with one thread the processor time is the time that nobody else had
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return found.processor_seconds if alone else found.seconds


def peak_mib(work: Callable[[], Any], device: torch.device) -> float | None:
    """The most memory in use during `work`, MiB: allocated on a GPU, resident on Linux, else None."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) / 2**20
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not (os.access(reset, os.W_OK) and status.exists()):
        work()
        return None
    reset.write_text("5", encoding="ascii")  # proc(5): resets the peak of the resident set
    work()
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def describe(device: torch.device) -> dict[str, Any]:
    """The processor, and the GPU where there is one."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": name}


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.processor() or platform.machine())
