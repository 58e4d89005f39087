"""What a user is told who stops a verb: what is kept, and how to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Stopped(Exception):
    """The user stopped the verb; the message says what is kept and how to go on."""


@contextlib.contextmanager
def keeping(message: str) -> Iterator[None]:
    """A block that, when interrupted, ends with `message`."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(message) from None
