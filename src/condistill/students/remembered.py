"""Answers that are asked for again: a student is planned, checked and counted by questions that are the same.

>>> known = Remembered(most=2)
>>> [known.answer(question, lambda: question * 10) for question in (1, 2, 3, 1)], list(known.answers)
([10, 20, 30, 10], [3, 1])
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Remembered(Generic[T]):
    """The newest answers, by question.

    Attributes:
        most: how many are kept.
        answers: those that are, the oldest first.
    """

    most: int = 16
    answers: dict[Hashable, T] = field(default_factory=dict)

    def answer(self, question: Hashable, find: Callable[[], T]) -> T:
        """The answer to a question, found where it is not remembered."""
        if question not in self.answers:
            found = find()
            while len(self.answers) >= self.most:
                del self.answers[next(iter(self.answers))]
            self.answers[question] = found
        return self.answers[question]
