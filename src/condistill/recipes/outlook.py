"""What a recipe will take: time, memory and disk, by arithmetic from the sizes of its networks and a speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from condistill.files import GIB, free_bytes
from condistill.progress import duration
from condistill.recipes.compile_time import compile_seconds, notes_on_compiling, speed_compiled
from condistill.recipes.hardware import Device
from condistill.recipes.memory import Memory, advice_on_memory
from condistill.recipes.sizes import Sizes
from condistill.recipes.work import Work

# Share of the data sheet's operations that such networks are published to reach, not measured by us. In 16 bits:
# BK-SDM's own distillation, 12 to 15 images/s on an A100 (.10); training SD 2 on cached latents, 36 images/s (.28).
# In float32: diffusers' guide, 50 steps of SD 1 in 9.5 s on a Titan RTX (.52).
HALF, SINGLE = (0.10, 0.28), (0.3, 0.6)
Range = tuple[float, float]


@dataclass(frozen=True)
class Speed:
    """Seconds that one sample takes, (at least, at most), by arm where the arms' students differ.

    Attributes:
        basis: "measured" or "data sheet".
        image: of one image of D.
        trained: arm -> of one sample of training.
        evaluated: of one image of every model of the evaluation together.
    """

    basis: str
    image: Range
    trained: Mapping[str, Range]
    evaluated: Range


@dataclass(frozen=True)
class Outlook:
    """What a recipe will take.

    Attributes:
        recipe: its name.
        device, num_devices: what it runs on.
        basis: where the speed comes from.
        seconds: stage -> (at least, at most), with "all".
        device_hours: (at least, at most) over all devices.
        memory: of one device in training, and the micro-batch that fits.
        disk: what -> bytes, with "all".
        disk_free: bytes free in the run's folder.
        sizes: parameters and multiply-accumulates by network.
        advice: what to change.
        notes: what is not counted, and why.
    """

    recipe: str
    device: str
    num_devices: int
    basis: str
    seconds: dict[str, Range]
    device_hours: Range
    memory: Memory
    disk: dict[str, int]
    disk_free: int
    sizes: dict[str, Any]
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """The outlook as plain JSON values."""
        return asdict(self) | {"memory": self.memory.as_dict()}

    def line(self) -> str:
        """The outlook in one line."""
        memory = "" if self.memory.peak_bytes is None else f", {_gib(self.memory.peak_bytes)} of memory in training"
        more = f"; change {self.advice[0]}" if self.advice else ""
        return f"about {_times(self.seconds['all'])} on {self.device}{memory}, {_gib(self.disk['all'])} of disk{more}"

    def lines(self) -> list[str]:
        """The outlook for people."""
        where = self.device if self.num_devices == 1 else f"{self.num_devices} x {self.device}"
        found = [f"{self.recipe} on {where}; speed: {self.basis}", ""]
        found += [f"  time    {stage:<12} {_times(seconds)}" for stage, seconds in self.seconds.items()]
        found += [f"  time    {'device hours':<12} {_range(self.device_hours, '{:.3g}')}", ""]
        found += [*self.memory.lines(), ""]
        found += [f"  disk    {what:<12} {_gib(size)}" for what, size in self.disk.items()]
        found += [f"  disk    {'free':<12} {_gib(self.disk_free)}"]
        found += ["", *(f"change: {one}" for one in self.advice)] if self.advice else []
        return [*found, "", *(f"note: {one}" for one in self.notes)] if self.notes else found


def outlook(
    name: str, work: Work, sizes: Sizes, speed: Speed, *, device: Device, num_devices: int, out: str | Path
) -> Outlook:
    """What the work takes on these devices."""
    speed = speed_compiled(work, speed, device)
    stages = {"D": _times_n(speed.image, work.images)}
    for arm in work.arms:
        label = "training" if len(work.arms) == 1 else f"train {arm.name}"
        stages[label] = _times_n(speed.trained[arm.name], arm.steps * arm.batch)
    if work.evaluated:
        stages["evaluation"] = _times_n(speed.evaluated, work.evaluated)
    seconds = {stage: _times_n(one, 1 / num_devices) for stage, one in stages.items()}
    if compiling := compile_seconds(work, sizes, device):
        seconds["compiling"] = compiling, compiling
    seconds["all"] = (sum(low for low, _ in seconds.values()), sum(high for _, high in seconds.values()))
    memory = Memory.of(work, sizes, device=device, num_devices=num_devices)
    disk = {"D": work.images * sizes.item_bytes(work.cache_dtype), "C": work.corpus_bytes}
    disk["checkpoints"] = sum(sizes.arms[arm.name].checkpoint_bytes * (arm.checkpoints + 1) for arm in work.arms)
    disk["students"] = sum(sizes.arms[arm.name].parameters * 4 + (sizes.others_bytes or 0) for arm in work.arms)
    disk["all"], free = sum(disk.values()), free_bytes(out)
    advice = [*advice_on_memory(memory, work, sizes, device=device)]
    if disk["all"] > free:
        advice.append(f"free {_gib(disk['all'] - free)} of disk, or choose another --out or data.cache")
    hours = (seconds["all"][0] * num_devices / 3600, seconds["all"][1] * num_devices / 3600)
    return Outlook(
        name, device.name, num_devices, speed.basis, seconds, hours, memory, disk, free, sizes.as_dict(),
        tuple(advice), (*work.notes, *sizes.notes, *notes_on_compiling(work, device)),
    )  # fmt: skip


def sheet_speed(work: Work, sizes: Sizes, device: Device) -> Speed:
    """The speed by operations and the device's data sheet."""

    def seconds(macs: float, is_half: bool) -> Range:
        low, high = HALF if is_half else SINGLE
        rate = device.half_teraflops if is_half else device.single_teraflops
        assert rate is not None
        # two operations per multiply-accumulate
        return 2 * macs / (rate * 1e12 * high), 2 * macs / (rate * 1e12 * low)

    trained = {
        arm.name: seconds(sizes.macs_of_training(arm), arm.in_half_precision or arm.teacher_in_half)
        for arm in work.arms
    }
    drawn = sizes.teacher_macs * work.passes_per_image
    shown = sum(sizes.arms[arm.name].macs for arm in work.arms) + sizes.teacher_macs
    return Speed(
        f"by the data sheet, of which {HALF[0]:.0%} to {HALF[1]:.0%} is taken to be reached in 16 bits",
        seconds(drawn, work.teacher_in_half),
        trained,
        seconds(shown * work.passes_per_evaluated, work.teacher_in_half),
    )


def _times_n(seconds: Range, number: float) -> Range:
    return seconds[0] * number, seconds[1] * number


def _times(seconds: Range) -> str:
    low, high = duration(seconds[0]), duration(seconds[1])
    return low if low == high else f"{low} to {high}"


def _range(values: Range, form: str) -> str:
    low, high = form.format(values[0]), form.format(values[1])
    return low if low == high else f"{low} to {high}"


def _gib(size: float) -> str:
    return f"{size / GIB:.3g} GiB" if size >= GIB / 10 else f"{size / 2**20:.3g} MiB"
