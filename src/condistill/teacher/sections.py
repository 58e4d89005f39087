"""Sections: a loop that begins anew (a long video made piece by piece), told by the times of its steps."""

from __future__ import annotations


class Sections:
    """The first section of what is sampled: until the loop, having left its first time, steps at that time again.

    What stands beside x_t (the frames that are there so far) is another for every section, so x_0 and what is bound to
    it are only true of each other within one.
    """

    def __init__(self) -> None:
        self._times: list[float] = []
        self._size: tuple[int, ...] = ()
        self._back: float | None = None
        self._over = False

    def is_over(self, time: float, *, called: bool) -> bool:
        """Whether a step at `time` belongs to another section, as all do that come after its first.

        Args:
            called: the denoiser was called since the step before. Two steps with one call are one step of two parts.
        """
        is_anew = called and [time] == self._times[:1] and self._times[-1] != time
        self._over = self._over or is_anew
        return self._over

    def step(self, time: float, size: tuple[int, ...]) -> float | None:
        """Notes a step of a sample of that size; the time that the loop went back to at another size, if it ever did.

        Samplers of second order go back and forth between times as well, at one size.
        """
        grown, self._size = size != self._size, size
        self._times.append(time)
        if len(self._times) > 2 and self._back is None and grown:
            before, towards = self._times[-2], self._times[-2] - self._times[0]
            self._back = time if (time - before) * towards < 0 else None
        return self._back
