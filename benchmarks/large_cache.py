"""What a large D costs: python benchmarks/large_cache.py [--items 100 1000 ...] [--folder DIR] [--out FILE]

Writes a D of latents 4 x 8 x 8 for each number of items (512 bytes of latents an item; 1e6 items take about 0.9 GB with
their rows), opens it in a fresh process and reads batches in the order of training. Everything written is deleted.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPE, SHARD_ITEMS, BATCH = (4, 8, 8), 256, 64
NUM_BATCHES = 60


def write(folder: Path, num_items: int) -> float:
    """Seconds that writing D of random latents takes; its keys are all different."""
    from condistill.cache import Cache, Manifest
    from condistill.maths.draws import normal, numbers

    start = time.monotonic()
    manifest = Manifest(
        teacher="none", pipeline="none", call={}, seed=0, num_items=num_items, shard_items=SHARD_ITEMS,
        latent_shape=SHAPE,
    )  # fmt: skip
    made = Cache.create(folder, manifest, [f"a photo of thing number {k}" for k in range(num_items)], range(num_items))
    for plan in made.plans:
        made.write_shard(plan.number, normal(0, "large", numbers(plan.start, plan.stop - plan.start), SHAPE).half())
    return time.monotonic() - start


def opened(folder: Path) -> dict[str, float]:
    """Seconds of opening, of reading an item of every shard, and of reading a batch after that, in wall and processor
    time, and what the process grows by."""
    from condistill.cache import Cache
    from condistill.maths.draws import numbers, permuted

    before, start, clock = resident_mib(), time.monotonic(), time.process_time()
    found = Cache.open(folder)
    seconds, processor, after = time.monotonic() - start, time.process_time() - clock, resident_mib()
    clock = time.process_time()
    for plan in found.plans:
        found.read([plan.start])
    shards, wall, spent = time.process_time() - clock, [], []
    for k in range(NUM_BATCHES):
        start, clock = time.monotonic(), time.process_time()
        batch = found.read(permuted(0, "order", numbers(k * BATCH, BATCH), len(found)))
        wall.append(time.monotonic() - start)
        spent.append(time.process_time() - clock)
        assert batch.x0.shape == (BATCH, *SHAPE)
    return {
        "open_seconds": seconds, "open_processor_seconds": processor, "open_mib": after - before,
        "shards_processor_seconds": shards, "read_ms": 1000 * statistics.median(wall),
        "read_processor_ms": 1000 * statistics.median(spent), "read_mib": resident_mib() - after,
    }  # fmt: skip


def resident_mib() -> float:
    """The memory of this process that no file backs, MiB: pages of mapped files are the system's to take back."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where there is room; the system's temporary folder")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.open:
        print(json.dumps(opened(asked.open)))
        return
    rows: list[dict[str, Any]] = []
    for num_items in asked.items:
        with tempfile.TemporaryDirectory(dir=asked.folder) as name:
            seconds = write(Path(name) / "D", num_items)
            command = [sys.executable, __file__, "--open", str(Path(name) / "D")]
            said = subprocess.run(command, env=dict(os.environ), check=True, capture_output=True, text=True)
        rows.append({"items": num_items, "written_seconds": seconds, **json.loads(said.stdout)})
        print(json.dumps(rows[-1]), flush=True)
    if asked.out:
        about = {"latent_shape": SHAPE, "shard_items": SHARD_ITEMS, "batch": BATCH, "batches": NUM_BATCHES}
        asked.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
