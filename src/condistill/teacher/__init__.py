"""A pipeline as a denoiser: recorded, calibrated, verified."""

from condistill.teacher.calibration import Calibration
from condistill.teacher.condition import Condition
from condistill.teacher.taps import taps
from condistill.teacher.teacher import Samples, Teacher

__all__ = ["Calibration", "Condition", "Samples", "Teacher", "taps"]
