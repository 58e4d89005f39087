"""Training: one flat loop, exact resume."""

from condistill.train.api import Result, distill
from condistill.train.options import TrainOptions

__all__ = ["Result", "TrainOptions", "distill"]
