"""The record of how results were measured: what of it decides the numbers, and whether it can be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from condistill.reading import mapping, text

# what must be equal for numbers to stand in one column; what an older record does not say is as good as None
DECIDES = (
    "name", "seeds", "call", "n", "prompts", "teacher", "judge", "reference", "scheduler", "scheduler_config", "image",
    "backbones",
)  # fmt: skip


def protocol_hash(protocol: Mapping[str, Any]) -> str:
    """A hash of all in a protocol's record that decides the numbers; metrics, versions and machine are left out.

    >>> protocol_hash({"n": {"all": 8}, "created": "today"}) == protocol_hash({"n": {"all": 8}})
    True
    """
    # a backbone is its weights and its input, wherever the weights lay
    networks = {
        name: {key: value for key, value in about.items() if key != "weights"}
        for name, about in (protocol.get("backbones") or {}).items()
    }
    decides = {**{key: protocol.get(key) for key in DECIDES}, "backbones": networks}
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


def checked_protocol(obj: Any, where: str) -> dict[str, Any]:
    """A protocol's record, in which what the tables use is what it should be; the rest is shown as it is."""
    protocol = dict(mapping(obj, where))
    for key in ("metrics", "backbones"):
        for name, about in mapping(protocol.get(key, {}), f"{where}.{key}").items():
            mapping(about, f"{where}.{key}.{name}")
    if "metrics" in protocol:
        protocol["metrics"] = {name: {"description": "", **about} for name, about in protocol["metrics"].items()}
    for name, about in protocol.get("metrics", {}).items():
        text(about["label"], f"{where}.metrics.{name}.label")
        text(about.get("unit", ""), f"{where}.metrics.{name}.unit")
        text(about.get("description", ""), f"{where}.metrics.{name}.description")
    return protocol
