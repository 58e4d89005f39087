"""The memory of one device in training: what is there in any case, what a sample adds, the micro-batch that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from condistill.files import GIB
from condistill.recipes.hardware import Device
from condistill.recipes.sizes import Sizes
from condistill.recipes.work import ArmWork, Work
from condistill.train.checkpointing import LIBRARIES, bytes_of_sample, student_bytes
from condistill.train.faults import largest_divisor


@dataclass(frozen=True)
class Memory:
    """One device's memory in training, for the arm that takes most.

    Attributes:
        device_bytes: that a run may take.
        fixed_bytes: weights, optimiser and libraries.
        sample_bytes: of one sample of a micro-batch; None where the network's arguments are not known.
        share: samples of a step on one device.
        micro_batch: the recipe's, or the whole share.
        largest: the largest micro-batch that fits and divides the share; 0 if none does, None where not known.
    """

    device_bytes: int
    fixed_bytes: int
    sample_bytes: int | None
    share: int
    micro_batch: int
    largest: int | None

    @classmethod
    def of(cls, work: Work, sizes: Sizes, *, device: Device, num_devices: int) -> Memory:
        """The memory of the arm that takes most."""
        found = [cls.of_arm(arm, sizes, device=device, num_devices=num_devices) for arm in work.arms]
        return max(found, key=lambda one: one.peak_bytes or one.fixed_bytes)

    @classmethod
    def of_arm(cls, arm: ArmWork, sizes: Sizes, *, device: Device, num_devices: int) -> Memory:
        """The memory of one arm; "auto" counts as without gradient checkpointing."""
        fixed, sample = fixed_bytes(arm, sizes), sample_bytes(arm, sizes)
        share = max(1, arm.batch // num_devices)
        micro = min(arm.recipe.train.micro_batch or share, share)
        room = device.usable_bytes - fixed
        fits = None if sample is None else largest_divisor(share, room // max(1, sample))
        return cls(device.usable_bytes, fixed, sample, share, micro, fits)

    @property
    def peak_bytes(self) -> int | None:
        """At the recipe's micro-batch."""
        return None if self.sample_bytes is None else self.fixed_bytes + self.micro_batch * self.sample_bytes

    @property
    def fits(self) -> bool | None:
        """Whether the recipe's micro-batch does; None where not known."""
        return None if self.peak_bytes is None else self.peak_bytes <= self.device_bytes

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"peak_bytes": self.peak_bytes, "fits": self.fits}

    def lines(self) -> list[str]:
        """For people."""
        rows = [f"  memory  {'weights':<12} {self.fixed_bytes / GIB:.3g} GiB, with optimiser and libraries"]
        if self.sample_bytes is None:
            return [
                *rows,
                f"  memory  {'a sample':<12} not known: the denoiser's arguments are known with its pipeline only",
            ]
        peak, largest = self.peak_bytes or 0, self.largest or 0
        rows += [f"  memory  {'a sample':<12} {self.sample_bytes / 2**20:.4g} MiB"]
        rows += [f"  memory  {'peak':<12} {peak / GIB:.3g} GiB at a micro-batch of {self.micro_batch}"]
        fit = f"{largest} of {self.share} in {self.device_bytes / GIB:.3g} GiB" if largest else "none"
        return [*rows, f"  memory  {'that fits':<12} {fit}"]


def fixed_bytes(
    arm: ArmWork, sizes: Sizes, *, teacher_dtype: str | None = None, teacher_precision: str | None = None
) -> int:
    """Weights, optimiser state and libraries, with the recipe's precisions or others."""
    train, student = arm.recipe.train, sizes.arms[arm.name]
    per_weight = 4 if (teacher_dtype or arm.recipe.teacher.dtype) == "float32" else 2
    asked = teacher_precision or train.teacher_precision
    # the teacher answers from a copy where it has another precision or layout
    copied = 2 if asked != "no" else per_weight if train.channels_last else 0
    own = student_bytes(student.parameters, is_half=arm.in_half_precision)
    others = (sizes.others_bytes or 0) * per_weight // 4
    return LIBRARIES + others + sizes.teacher_parameters * (per_weight + copied) + own


def sample_bytes(
    arm: ArmWork, sizes: Sizes, *, checkpointing: bool | None = None, half: bool | None = None
) -> int | None:
    """What a sample of a micro-batch adds, with the recipe's options or others; None where not known."""
    train = arm.recipe.train
    asked = train.gradient_checkpointing is True if checkpointing is None else checkpointing
    found = sizes.arms[arm.name].footprint(asked)
    return None if found is None else bytes_of_sample(found, is_half=arm.in_half_precision if half is None else half)


def decided(work: Work, sizes: Sizes, *, device: Device, num_devices: int) -> Work:
    """The work with train.gradient_checkpointing=auto decided as a run decides it, and a note of what was taken."""

    def of(arm: ArmWork) -> ArmWork:
        train = arm.recipe.train
        if train.gradient_checkpointing != "auto":
            return arm
        is_tight = Memory.of_arm(arm, sizes, device=device, num_devices=num_devices).fits is False
        train = train.model_copy(update={"gradient_checkpointing": is_tight})
        return replace(arm, recipe=arm.recipe.model_copy(update={"train": train}))

    found = replace(work, arms=tuple(of(arm) for arm in work.arms))
    taken = [new for new, old in zip(found.arms, work.arms, strict=True) if new is not old]
    if not taken:
        return work
    which = {True: "taken", False: "not needed"}
    words = dict.fromkeys(which[bool(arm.recipe.train.gradient_checkpointing)] for arm in taken)
    return replace(found, notes=(*work.notes, f"train.gradient_checkpointing=auto: {', '.join(words)}"))


def advice_on_memory(memory: Memory, work: Work, sizes: Sizes, *, device: Device) -> Iterator[str]:
    """What to change where the recipe's micro-batch does not fit, or where a larger one would."""
    if memory.sample_bytes is None or memory.largest is None:
        return
    if memory.largest == memory.micro_batch:
        return
    if memory.largest > memory.micro_batch:
        if memory.micro_batch < memory.share:
            yield f"train.micro_batch={memory.largest} fits as well, and larger ones are faster on most GPUs"
        return
    if memory.largest > 0:
        yield f"train.micro_batch={memory.largest}, the largest that fits; the batch stays {work.arms[0].batch}"
        return
    yield from _without_room(memory, work, sizes, device=device)


def _without_room(memory: Memory, work: Work, sizes: Sizes, *, device: Device) -> Iterator[str]:
    """The shortest list of changes, in order of what they cost, with which one sample fits."""
    arm = max(work.arms, key=lambda one: sizes.arms[one.name].parameters)
    train = arm.recipe.train
    changes: list[str] = []
    checkpointing, half, dtype = bool(train.gradient_checkpointing), arm.in_half_precision, arm.recipe.teacher.dtype
    for change in ("train.precision=bf16", "train.gradient_checkpointing=true", "teacher.dtype=bfloat16"):
        if change == "train.precision=bf16" and not half:
            half = True
        elif change == "train.gradient_checkpointing=true" and not checkpointing:
            checkpointing = True
        elif change == "teacher.dtype=bfloat16" and dtype == "float32":
            dtype = "bfloat16"
        else:
            continue
        changes.append(change)
        sample = sample_bytes(arm, sizes, checkpointing=checkpointing, half=half)
        room = device.usable_bytes - fixed_bytes(arm, sizes, teacher_dtype=dtype)
        micro = largest_divisor(memory.share, room // max(1, sample or 1)) if sample is not None else 0
        if micro:
            yield f"{' '.join(changes)} train.micro_batch={micro}: then it fits"
            return
    need = fixed_bytes(arm, sizes, teacher_dtype="bfloat16")
    yield (
        f"a smaller student, or a device with more than {need / GIB:.3g} GiB: this one has room for "
        f"{device.usable_bytes / GIB:.3g} GiB"
    )
