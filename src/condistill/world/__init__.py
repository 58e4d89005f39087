"""The embedded worlds: `exact` (closed form, for tests), `emoji` (the teacher of the demo) and `tones` (sounds)."""

from __future__ import annotations
