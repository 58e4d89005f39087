"""What a dotted name means: the object of a module of the user's own, such as my_lab.my_p."""

from __future__ import annotations

import importlib
from typing import Any

from condistill.errors import UserError


def imported(kind: str, name: str) -> Any:
    """The object that a dotted name means; its module is imported, nothing in it is called.

    Args:
        kind: what is wanted, for the message.

    Raises:
        UserError: no such module, or nothing of that name in it.

    >>> imported("metric", "math.pi")
    3.141592653589793
    """
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # the last two: no name of a module at all
        raise UserError(f"{kind} {name!r} could not be imported: {error}") from error
