"""Recording a pipeline anew, where another call or other keys want it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from condistill.cache.values import is_plain
from condistill.maths.randomise import Key
from condistill.teacher.calibrate import calibrate
from condistill.teacher.calibration import Calibration
from condistill.teacher.failing import NotRun
from condistill.teacher.keys import examples_among


def recalibrated(
    found: Calibration | NotRun, pipeline: Any, component: str, call: Mapping[str, Any], keys: Sequence[Key]
) -> Calibration | None:
    """The calibration made anew as this call and such keys want it; None where they change nothing.

    Args:
        found: what was found before.
        call: without what matters to sampling alone.
        keys: those that will be encoded.
    """
    if isinstance(found, NotRun):
        return calibrate(pipeline, component, call, keys=examples_among(keys))
    changed = [name for name, value in call.items() if not found.says(name, value)]
    examples = None if found.knows(keys) else examples_among(keys)
    if not changed and examples is None and not found.is_small:
        return None
    # pictures that were given before stay; our own examples may have another size than what is given now
    given = {n: v for n, v in found.call.items() if n not in found.placeholders and not is_plain(v)}
    return calibrate(pipeline, component, {**given, **call}, keys=examples or found.keys)
