"""A pipeline as a denoiser: recorded, calibrated, verified."""

from condistill.teacher.calibration import Calibration
from condistill.teacher.condition import Condition
from condistill.teacher.taps import taps
from condistill.teacher.teacher import Samples, Teacher
from condistill.torchvision_ops import define_missing_ops

__all__ = ["Calibration", "Condition", "Samples", "Teacher", "taps"]

define_missing_ops()  # before diffusers or transformers imports torchvision for a pipeline
