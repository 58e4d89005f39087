"""Bench: our training and sampling beside plain loops as they are published, in one process and interleaved."""

from condistill.bench.comparing import bench
from condistill.bench.losses import losses
from condistill.bench.sizes import SIZES

__all__ = ["SIZES", "bench", "losses"]
