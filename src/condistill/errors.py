"""The one error a user meets, and the did-you-mean message that most of them are."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator

MAX_CHARACTERS = 1000  # of a message; what is quoted may be a line of a megabyte


class UserError(ValueError):
    """A mistake of the user, said in one line: what was got, what was wanted, the next move.

    The command line turns it into exit code 2; in the Python API it is an ordinary ``ValueError``. A message often
    quotes what a file held, so it is made safe for a terminal and a log: see `one_line`.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


class Remark(UserWarning):
    """What a user should know and need not stop for; the command line prints it in one line."""


def one_line(text: str) -> str:
    r"""The text in one line that can be printed: a control, an escape or half a surrogate pair is written as its
    escape, and of a very long text the beginning and the end are kept.

    >>> one_line("a\nb \x1b[31m \ud800")
    'a b \\x1b[31m \\ud800'
    """
    text = _shortened(text)
    if text.isprintable():
        return text
    return _shortened("".join(one if one.isprintable() else _written(one) for one in text))


def brief(error: BaseException) -> str:
    """What a library's error says, in a line that fits into one of ours; the error's kind where it says nothing.

    >>> brief(ValueError("a\\n  b")), brief(KeyError()), brief(KeyError("a"))
    ('a b', 'KeyError', "KeyError 'a'")
    """
    said, kind = " ".join(str(error).split())[:200], type(error).__name__
    return (f"{kind} {said}" if isinstance(error, KeyError) else said) if said else kind


@contextlib.contextmanager
def panics_said(what: str) -> Iterator[None]:
    """A block in which a library written in Rust may give up: its panic, which is no Exception, is one clear error.

    Args:
        what: what is wrong then, as far as can be told.

    Raises:
        UserError: it gave up.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # each library has a class of its own (pyo3_runtime)
            raise
        raise UserError(f"{what}: a library gave up on it ({brief(error)}); restore the files from a copy") from error


def _shortened(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return f"{text[: MAX_CHARACTERS // 2]} [...] {text[-MAX_CHARACTERS // 3 :]}"


def _written(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode("ascii")


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
