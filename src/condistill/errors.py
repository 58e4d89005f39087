"""The one error a user meets, and the did-you-mean message that most of them are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user, said in one line: what was got, what was wanted, the next move.

    The command line turns it into exit code 2; in the Python API it is an ordinary ``ValueError``.
    """


def nearest(got: str, known: Iterable[str]) -> str | None:
    """The known name closest to `got`, or None when nothing is close.

    >>> nearest("sigmiod", ["linear", "sigmoid"])
    'sigmoid'
    """
    found = difflib.get_close_matches(str(got), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown_name(kind: str, got: str, known: Iterable[str]) -> UserError:
    """An error that names the nearest known name and lists the others.

    >>> print(unknown_name("p_random", "sigmiod", ["linear", "sigmoid"]))
    unknown p_random 'sigmiod'; did you mean 'sigmoid'? known: linear, sigmoid
    """
    names = sorted(map(str, known))
    guess = nearest(got, names)
    hint = f"did you mean {guess!r}? " if guess else ""
    return UserError(f"unknown {kind} {got!r}; {hint}known: {', '.join(names)}")
