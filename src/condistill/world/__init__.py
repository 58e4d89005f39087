"""The embedded worlds: `exact` (closed form, for tests), `emoji` (the teacher of the demo) and `tones` (sounds)."""

from __future__ import annotations

from condistill.torchvision_ops import define_missing_ops

define_missing_ops()  # before the worlds import diffusers and that imports torchvision
