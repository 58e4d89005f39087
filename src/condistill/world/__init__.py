"""The embedded worlds: `exact` (closed form, for tests) and `emoji` (the text-to-image teacher of the demo)."""

from __future__ import annotations
