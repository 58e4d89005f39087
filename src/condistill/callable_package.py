"""Packages that can be called: `condistill.distill` is the folder of the method and the function that runs it.

The public names of the API (`distill`, `generate`, `evaluate`, `report`, `corpus`) are those of the parts of the house.
Python binds a submodule to its parent's attribute when it is first imported, so a function of the same name would be
shadowed by import order. Making the module itself callable gives one object, whichever way it was reached.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any


def make_callable(module: str, target: str) -> None:
    """Calling the module `module` from now on calls `target` ("package.module:function"), imported at the call."""

    class CallablePackage(types.ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.__wrapped__(*args, **kwargs)

        @property
        def __wrapped__(self) -> Any:
            # inspect.signature and help() follow this name
            home, _, function = target.partition(":")
            return getattr(importlib.import_module(home), function)

    sys.modules[module].__class__ = CallablePackage
