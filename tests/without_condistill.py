"""The opening lines of a process that has diffusers and not condistill: what a user of a finished student has."""

from __future__ import annotations

from condistill import torchvision_ops

# The workaround for torchvision is run by its path: how diffusers can be imported here is no matter of ours.
OPENING = f"""
import runpy, sys
sys.modules["condistill"] = None
defined = runpy.run_path({torchvision_ops.__file__!r})["define_missing_ops"]()
"""
