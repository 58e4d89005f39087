"""What the benchmarks that time runs in turns have in common: their options, and how they say what they found."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with what all of them take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="world")
    parser.add_argument("--tiny", action="store_true", help="few channels: tries it anywhere, says nothing of it")
    parser.add_argument("--precision", choices=("no", "bf16"), default="bf16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser


def say(found: dict[str, Any], out: Path | None) -> None:
    """Prints JSON, and writes it to `out` as well."""
    text = json.dumps(found, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
