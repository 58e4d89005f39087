"""How long a corpus of many rows takes to open: python benchmarks/large_corpus.py [--rows N] [--folder DIR]

Writes a parquet file of N captions (default 1e8), opens it for the first time (which converts it once to memory-mapped
columns), opens it again in a fresh process, and draws 10,000 rows. Everything written is deleted. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHUNK = 1_000_000


def write(path: Path, rows: int) -> None:
    """A parquet file of `rows` different captions."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet as pq

    pc: Any = pyarrow.compute  # its functions are made when it is imported
    with pq.ParquetWriter(path, pa.schema([("caption", pa.string())])) as writer:
        for start in range(0, rows, CHUNK):
            numbers = pa.array(np.arange(start, min(start + CHUNK, rows))).cast(pa.string())
            captions: Any = pc.binary_join_element_wise("a photo of thing number", numbers, " ")
            writer.write_table(pa.table({"caption": captions}))


def opened(path: Path) -> dict[str, float]:
    """Seconds and peak memory of opening the file and drawing from it."""
    import numpy as np

    from condistill import corpus

    start = time.monotonic()
    found = corpus(path)
    open_seconds = time.monotonic() - start
    start = time.monotonic()
    keys = found.draw(np.random.default_rng(0).random(10_000))
    assert len(set(keys)) > 9_900 and found[len(found) - 1] == f"a photo of thing number {len(found) - 1}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": len(found), "open_seconds": round(open_seconds, 2),
            "draw_10000_seconds": round(time.monotonic() - start, 3), "peak_mib": round(peak)}  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.open:
        print(json.dumps(opened(asked.open)))
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        path, start = Path(name) / "captions.parquet", time.monotonic()
        write(path, asked.rows)
        found: dict[str, Any] = {"written_seconds": round(time.monotonic() - start, 1), "bytes": path.stat().st_size}
        for which in ("first", "again"):
            command = [sys.executable, __file__, "--open", str(path)]
            said = subprocess.run(
                command, env={**os.environ, "CONDISTILL_CACHE": name}, check=True, capture_output=True, text=True
            )
            found[which] = json.loads(said.stdout)
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
