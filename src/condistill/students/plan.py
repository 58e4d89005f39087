"""What a student is before it exists: its config, where each tensor comes from, what is compared with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from condistill.students.passes import Pass


@dataclass(frozen=True)
class Part:
    """A run of channels and how it is narrowed: `student` of `teacher` channels, chosen by weight or evenly spread.

    Evenly spread, channel k of the student is the teacher's floor(k n / m). That respects every equal subdivision of
    the run: norm groups, the two halves of GEGLU and the frequencies of the time embedding stay aligned, as the leading
    channels would not. Where the run is made of attention heads or norm groups, it is those that are spread first
    (`teacher_heads` to `student_heads`), then the channels within each.

    Attributes:
        teacher: channels of the teacher.
        student: channels of the student.
        teacher_heads: heads or norm groups that the teacher's are made of.
        student_heads: the same of the student.
        stream: all tensors that read or write the same channels name the same stream; "" is spread evenly.
        chosen: the teacher's channels that stay, once they are chosen by weight.
    """

    teacher: int
    student: int
    teacher_heads: int = 1
    student_heads: int = 1
    stream: str = ""
    chosen: tuple[int, ...] = field(default=(), repr=False)

    def index(self) -> list[int]:
        """The teacher's channel for each of the student's.

        >>> Part(10, 5).index()
        [0, 2, 4, 6, 8]
        >>> Part(8, 4, teacher_heads=4, student_heads=2).index()
        [0, 1, 4, 5]
        """
        if self.chosen:
            return list(self.chosen)
        n, m = self.teacher // self.teacher_heads, self.student // self.student_heads
        heads = [k * self.teacher_heads // self.student_heads for k in range(self.student_heads)]
        return [head * n + k * n // m for head in heads for k in range(m)]


@dataclass(frozen=True)
class Origin:
    """Where one tensor of the student comes from.

    Attributes:
        kind: "inherited" (the teacher's tensor as it is), "sliced" (some of its channels) or "fresh" (newly drawn).
        source: the teacher's tensor; None for a fresh one.
        dims: per dimension the parts that are narrowed, one after the other, or None for a dimension taken whole.
        reason: why, in a few words.
    """

    kind: Literal["inherited", "sliced", "fresh"]
    source: str | None
    dims: tuple[tuple[Part, ...] | None, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class TapPair:
    """Two outputs of modules that the feature loss compares; a learned projection stands between iff widths differ.

    A module is named by its path, and where it gives out a tuple and another element than the first is compared, that
    by its number: "transformer_blocks.3:1".

    Attributes:
        teacher: of the teacher's network.
        student: of the student's network.
        teacher_channels: channels of the teacher's feature.
        student_channels: channels of the student's feature.
    """

    teacher: str
    student: str
    teacher_channels: int
    student_channels: int


@dataclass(frozen=True)
class StudentPlan:
    """A student: one value that `build` turns into a network.

    Attributes:
        spec: the spec as one string.
        cls: the network's class, the same for teacher and student.
        teacher_config: the teacher's config, without diffusers' own entries.
        config: the student's config.
        init: "inherit", "slice" or "random": what was done, not what was asked for where `notes` say so.
        origins: one entry for each tensor of the student.
        taps: pairs of modules for the feature loss.
        modules: path of each of the student's modules -> the teacher's counterpart.
        notes: what the user should know.
        passes: what a pass of teacher and student showed; None where shapes did not suffice for one.
        inputs_given: whether these passes were made with recorded arguments, not with those known for the class.
        fed_anew: whether the student's pipeline gives it other arguments than the teacher's, so that it is recorded
            by itself.
        upstream: networks upstream of the denoiser that are cut along with it -> their plans.
    """

    spec: str
    cls: type
    teacher_config: Mapping[str, Any]
    config: Mapping[str, Any]
    init: str
    origins: Mapping[str, Origin]
    taps: tuple[TapPair, ...]
    modules: Mapping[str, str]
    notes: tuple[str, ...] = ()
    passes: tuple[Pass, Pass] | None = field(default=None, repr=False, compare=False)
    inputs_given: bool = False
    fed_anew: bool = False
    upstream: Mapping[str, StudentPlan] = field(default_factory=dict)
