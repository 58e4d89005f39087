"""Broken input for every parser: python benchmarks/fuzz.py [--inputs N] [--seed S] [--only NAME ...] [--out FILE]

Good inputs (recipes, prompt files, caches, run folders, pipeline folders) are broken in one to four places and read as
a command would read them. Each must be accepted or refused with one clear line (`UserError`), within `--limit` seconds
and without a change to the file that was read. Anything else is written to `--keep` with what happened.

Exit code 1 if there was such a thing. The targets are those of tests/fuzz, where the suite runs a few inputs of each.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import hashlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from condistill.cli.main import _quiet_libraries
from tests.fuzz.targets import TARGETS, Target, broken, run_one


class TookTooLong(Exception):
    """An input that was read for longer than the limit."""


def _late(*_: Any) -> None:
    raise TookTooLong


def fuzz(target: Target, count: int, *, seed: int, limit: int, keep: Path) -> dict[str, Any]:
    """What became of `count` inputs of one target."""
    said: collections.Counter[str] = collections.Counter()
    crashes: dict[str, str] = {}
    start, slowest = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = target.prepare(folder)
        for number in range(count):
            data = broken(target, seeds, Random(f"{seed}/{target.name}/{number}"))
            begun = time.monotonic()
            signal.alarm(limit)
            try:
                found = run_one(target, folder, data)
                said["accepted" if found == "accepted" else "refused"] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                said["crashed"] += 1
                _keep(keep, target, number, data, error, crashes)
            finally:
                signal.alarm(0)
            slowest = max(slowest, time.monotonic() - begun)
    seconds = time.monotonic() - start
    return {"inputs": count, **said, "seconds": round(seconds, 1), "slowest": round(slowest, 2), "crashes": crashes}


def _keep(keep: Path, target: Target, number: int, data: bytes, error: BaseException, crashes: dict[str, str]) -> None:
    text = traceback.format_exc()
    frames = [line.strip() for line in text.splitlines() if 'File "' in line and "condistill" in line]
    summary = f"{type(error).__name__} at {frames[-1] if frames else '?'}"
    if summary in crashes:
        return
    keep.mkdir(parents=True, exist_ok=True)
    stem = f"{target.name}-{hashlib.sha256(data).hexdigest()[:10]}"
    (keep / f"{stem}.input").write_bytes(data)
    (keep / f"{stem}.txt").write_text(text, errors="backslashreplace")
    crashes[summary] = f"{stem} (input {number}): {str(error)[:120]!a}"


def main() -> int:
    """1 if an input crashed a parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--only", nargs="*", choices=list(TARGETS))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-crashes"))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    _quiet_libraries()
    signal.signal(signal.SIGALRM, _late)
    chosen = [TARGETS[name] for name in asked.only or TARGETS]
    total = sum(target.weight for target in chosen)
    rows = {}
    for target in chosen:
        count = max(1, round(asked.inputs * target.weight / total))
        rows[target.name] = fuzz(target, count, seed=asked.seed, limit=asked.limit, keep=asked.keep)
        print(target.name, json.dumps({k: v for k, v in rows[target.name].items() if k != "crashes"}), flush=True)
        for summary, where in rows[target.name]["crashes"].items():
            print(f"  {summary}: {where}", flush=True)
    whole = {k: sum(row.get(k, 0) for row in rows.values()) for k in ("inputs", "accepted", "refused", "crashed")}
    whole["seconds"] = round(sum(row["seconds"] for row in rows.values()), 1)
    print("all", json.dumps(whole))
    if asked.out:
        about = {"date": f"{datetime.date.today()}", "machine": platform.processor() or platform.machine(),
                 "python": platform.python_version(), "seed": asked.seed}  # fmt: skip
        asked.out.write_text(json.dumps({**about, "all": whole, "targets": rows}, indent=1) + "\n")
    return int(whole["crashed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
