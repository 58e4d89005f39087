"""What a recipe runs on: GPUs by name, from their data sheets, and this machine."""

from __future__ import annotations

from dataclasses import dataclass

from condistill.errors import unknown_name
from condistill.files import GIB
from condistill.memory import USABLE, machine_bytes


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        name: as it is asked for.
        memory_bytes: of the device, or of the machine where it is a CPU.
        half_teraflops: 10^12 operations a second in 16 bits, dense, by the data sheet; None where not known.
        single_teraflops: the same in float32.
        is_cpu: whether it is the machine itself.
    """

    name: str
    memory_bytes: int
    half_teraflops: float | None = None
    single_teraflops: float | None = None
    is_cpu: bool = False

    @property
    def usable_bytes(self) -> int:
        """The bytes that a run may take."""
        return int(USABLE * self.memory_bytes)


# Source: the makers' data sheets; name: (GiB, dense 16-bit, float32 without tensor cores)
_SHEET = {
    "t4": (15, 65.0, 8.1),
    "v100": (32, 125.0, 15.7),
    "rtx3090": (24, 71.0, 35.6),
    "rtx4090": (24, 165.0, 82.6),
    "rtx5090": (32, 209.0, 104.8),
    "a10": (24, 125.0, 31.2),
    "l4": (24, 121.0, 30.3),
    "l40s": (48, 362.0, 91.6),
    "a100-40gb": (40, 312.0, 19.5),
    "a100-80gb": (80, 312.0, 19.5),
    "h100": (80, 989.0, 67.0),
    "h200": (141, 989.0, 67.0),
    "b200": (180, 2250.0, 80.0),
}
GPUS = {name: Device(name, int(gib * GIB), half, single) for name, (gib, half, single) in _SHEET.items()}
DEFAULT_GPU = "a100-80gb"


def gpu(name: str) -> Device:
    """The GPU of that name.

    Raises:
        UserError: none known.

    >>> gpu("H100").half_teraflops
    989.0
    """
    found = GPUS.get(name.lower())
    if found is None:
        raise unknown_name("GPU", name, GPUS)
    return found


def this_machine() -> Device:
    """The device that a run would use here: the first GPU, or the CPU with the machine's memory."""
    import torch

    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        return Device(about.name, int(about.total_memory))
    return Device(f"this CPU ({torch.get_num_threads()} threads)", machine_bytes(), is_cpu=True)
