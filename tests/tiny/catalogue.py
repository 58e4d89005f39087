"""Every tiny pipeline: the CASES of the modules in this folder."""

from __future__ import annotations

import importlib
import pkgutil

import tests.tiny as folder
from tests.tiny.case import Case


def catalogue() -> dict[str, Case]:
    """Name -> case. One more is one more entry in the CASES of a module here."""
    found: dict[str, Case] = {}
    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda m: m.name):
        if module.name == "catalogue":
            continue
        for case in getattr(importlib.import_module(f"tests.tiny.{module.name}"), "CASES", ()):
            assert case.name not in found, f"two cases are called {case.name}"
            found[case.name] = case
    return found
